"""Faults: their syntax, and their effect on a response. The tests of the server send them to a client."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbootimg.errors import SettingError
from rbootimg.serve.faults import BURST, End, Fault, FaultKind, Pause, Step, check, faults_for, parse, steps

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nETag: X\r\n\r\n"
PIECES = (b"abcd", b"efg", b"hi")


def sent(*faults: str, pieces: tuple[bytes, ...] = PIECES, with_body: bool = True) -> list[Step]:
    return list(steps([parse(fault) for fault in faults], HEAD, pieces, with_body))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("404", Fault(FaultKind.NOT_FOUND)),
        ("404-as-200", Fault(FaultKind.NOT_FOUND_AS_200)),
        ("truncate@1000", Fault(FaultKind.TRUNCATE, 1000)),
        ("stall@0", Fault(FaultKind.STALL, 0, math.inf)),
        ("stall@7:5", Fault(FaultKind.STALL, 7, 5.0)),
        ("rom1.bin=reset@5", Fault(FaultKind.RESET, 5, path="rom1.bin")),
        ("clock/*=lower-case", Fault(FaultKind.LOWER_CASE, path="clock/*")),
    ],
)
def test_a_fault_is_written_in_one_word(text: str, fault: Fault) -> None:
    assert parse(text) == fault


@pytest.mark.parametrize(
    "text", ["", "405", "truncate", "404@5", "reset@5:5", "flip@-1", "flip@x", "stall@1:", "=", "a="]
)
def test_an_unknown_fault_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(SettingError) as error:
        parse(text)
    assert str(error.value) == (
        f"unknown fault {text!r}: expected [PATH=]FAULT, with FAULT one of 404, 500, 404-as-200, redirect, chunked, "
        "lower-case, bursts, truncate@N, reset@N, stall@N, flip@N, split@N, stall@N:SECONDS"
    )


def test_a_fault_may_be_for_some_files_only() -> None:
    faults = tuple(map(parse, ("404", "rom1.bin=500", "*/rom1.bin=chunked")))
    assert faults_for("rom1.bin", faults) == faults[:2]
    assert faults_for("clock/rom1.bin", faults) == (faults[0], faults[2])


def test_without_faults_the_header_and_the_first_data_are_one_step() -> None:
    assert sent() == [HEAD + b"abcd", b"efg", b"hi"]
    assert sent(pieces=()) == [HEAD]


@pytest.mark.parametrize(("kind", "end"), [("truncate", End.CLOSE), ("reset", End.RESET)])
def test_a_response_can_end_at_a_byte(kind: str, end: End) -> None:
    assert sent(f"{kind}@0") == [HEAD, end]
    assert sent(f"{kind}@2") == [HEAD + b"ab", end]
    assert sent(f"{kind}@4") == [HEAD + b"abcd", end]
    assert sent(f"{kind}@8") == [HEAD + b"abcd", b"efg", b"h", end]
    assert sent(f"{kind}@9") == sent()


def test_a_response_can_stall_at_a_byte() -> None:
    assert sent("stall@5:3") == [HEAD + b"abcd", b"e", Pause(3.0), b"fg", b"hi"]
    assert sent("stall@0") == [HEAD, Pause(math.inf), b"abcd", b"efg", b"hi"]


@given(st.binary(max_size=40), st.integers(0, 50), st.integers(1, 9))
def test_exactly_one_byte_is_flipped(body: bytes, at: int, size: int) -> None:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    after = b"".join(step for step in steps([Fault(FaultKind.FLIP, at)], b"", pieces) if isinstance(step, bytes))
    assert len(after) == len(body)
    assert [place for place in range(len(body)) if after[place] != body[place]] == ([at] if at < len(body) else [])


def test_chunked_encoding_replaces_the_length() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: X\r\n\r\n"
    assert sent("chunked") == [head + b"4\r\nabcd\r\n", b"3\r\nefg\r\n", b"2\r\nhi\r\n", b"0\r\n\r\n"]
    assert sent("chunked", "truncate@5")[-2:] == [b"1\r\ne\r\n", End.CLOSE]
    assert sent("chunked", pieces=()) == [head + b"0\r\n\r\n"]


@pytest.mark.parametrize("kind", FaultKind, ids=lambda kind: kind.value)
def test_no_fault_gives_a_body_to_a_response_without_one(kind: FaultKind) -> None:
    steps_sent = sent(f"{kind.value}{'@0' * kind.has_offset}", pieces=(), with_body=False)
    assert End.CLOSE not in steps_sent
    assert End.RESET not in steps_sent
    assert sum(step.seconds for step in steps_sent if isinstance(step, Pause)) < 1
    response = b"".join(step for step in steps_sent if isinstance(step, bytes))
    assert response.endswith(b"\r\n\r\n")
    assert response.count(b"\r\n\r\n") == 1


def test_header_names_can_be_in_lower_case() -> None:
    assert sent("lower-case", pieces=()) == [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\netag: X\r\n\r\n"]


def test_the_header_can_be_split() -> None:
    first, pause, second, *_ = sent("split@20")
    assert (first, second) == (HEAD[:20], HEAD[20:] + b"abcd")
    assert isinstance(pause, Pause)


def test_the_header_can_come_alone() -> None:
    first, _, second, *_ = sent("split@9999")
    assert (first, second) == (HEAD, b"abcd")


@given(st.lists(st.binary(min_size=1, max_size=9000), max_size=6))
def test_bursts_are_at_most_four_segments_long(pieces: list[bytes]) -> None:
    response = HEAD + b"".join(pieces)
    bursts = [step for step in steps([Fault(FaultKind.BURSTS)], HEAD, pieces) if isinstance(step, bytes)]
    assert b"".join(bursts) == response
    assert [len(burst) for burst in bursts[:-1]] == [BURST] * ((len(response) - 1) // BURST)


@pytest.mark.parametrize("size", [BURST - len(HEAD), BURST, 3 * BURST])
def test_bursts_have_a_pause_between_them_and_none_after_the_last(size: int) -> None:
    found = list(steps([Fault(FaultKind.BURSTS)], HEAD, [bytes(size)]))
    assert [isinstance(step, Pause) for step in found] == [index % 2 == 1 for index in range(len(found))]
    assert isinstance(found[-1], bytes)


def test_faults_go_together() -> None:
    steps_sent = sent("lower-case", "flip@0", "truncate@2", "split@3")
    assert steps_sent[0] == b"HTT"
    assert isinstance(steps_sent[1], Pause)
    assert steps_sent[2:] == [
        HEAD[3:].replace(b"Content-Length", b"content-length").replace(b"ETag", b"etag") + b"\x9eb",
        End.CLOSE,
    ]


# The files that they match

FILES = ("rom0.bin", "rom1.bin", "version", "clock/", "clock/rom0.bin", "releases/1.0.0/rom0.bin")


def refused(text: str, files: tuple[str, ...] = FILES) -> str:
    with pytest.raises(SettingError) as error:
        check([parse("404"), parse(text)], files.__contains__, lambda: files)
    return str(error.value)


@pytest.mark.parametrize(
    "text", ["404", "*=404", "**=404", "rom1.bin=reset@5", "clock/=404", "releases/*=404", "rom?.bin=404", "[rv]*=404"]
)
def test_a_fault_for_an_existing_file_is_accepted(text: str) -> None:
    check([parse(text)], FILES.__contains__, lambda: FILES)


def test_a_fault_for_every_file_is_accepted_before_there_is_any() -> None:
    check([parse("404"), parse("*=chunked")], lambda _: False, lambda: ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rom2.bin=404", "fault 404: no such file 'rom2.bin'; similar: 'rom1.bin', 'rom0.bin'"),
        ("Version=stall@5", "fault stall: no such file 'Version'; similar: 'version'"),
        ("/rom1.bin=404", "fault 404: no such file '/rom1.bin'; similar: 'rom1.bin', 'rom0.bin'"),
        ("x/y/version=404", "fault 404: no such file 'x/y/version'; similar: 'version'"),
        ("clocks/*=404", "fault 404: no file matches 'clocks/*'; similar: 'clock/'"),
        (
            "zzz=404",
            "fault 404: no such file 'zzz'; available: 'rom0.bin', 'rom1.bin', 'version', "
            "'clock/', 'clock/rom0.bin', 'releases/1.0.0/rom0.bin'",
        ),
        ("a\nb=404", "fault 404: no such file 'a\\nb'; available: 'rom0.bin', 'rom1.bin', "),
    ],
)
def test_a_fault_for_no_file_is_refused_with_one_that_it_may_be_faults_for(text: str, message: str) -> None:
    assert refused(text).startswith(message)


def test_of_many_files_some_are_named() -> None:
    assert refused("zzz=404", tuple(f"rom{number}.bin" for number in range(1010))).endswith(
        "'rom6.bin', 'rom7.bin' and 1,002 more"
    )


def test_without_any_file_there_is_a_hint() -> None:
    assert refused("rom1.bin=404", ()).endswith("; publish a release first, or omit the path to match every file")


def test_a_name_with_brackets_is_a_pattern_and_needs_a_match() -> None:
    check([parse("a[[]1].bin=404")], lambda _: False, lambda: ("a[1].bin",))
    assert refused("a[1].bin=404", ("a[1].bin",)).endswith("; similar: 'a[1].bin'")
