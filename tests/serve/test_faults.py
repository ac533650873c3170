"""Faults: how they are written, and what becomes of a response. The server's own tests show them to a client."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbootimg.errors import SettingError
from rbootimg.serve.faults import BURST, KINDS, End, Fault, Pause, Step, check, meant_for, parse, steps

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nETag: X\r\n\r\n"
PIECES = (b"abcd", b"efg", b"hi")


def sent(*faults: str, pieces: tuple[bytes, ...] = PIECES, with_body: bool = True) -> list[Step]:
    return list(steps([parse(fault) for fault in faults], HEAD, pieces, with_body))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("404", Fault("404")),
        ("404-as-200", Fault("404-as-200")),
        ("truncate@1000", Fault("truncate", 1000)),
        ("stall@0", Fault("stall", 0, math.inf)),
        ("stall@7:5", Fault("stall", 7, 5.0)),
        ("rom1.bin=reset@5", Fault("reset", 5, path="rom1.bin")),
        ("clock/*=lower-case", Fault("lower-case", path="clock/*")),
    ],
)
def test_a_fault_is_written_in_one_word(text: str, fault: Fault) -> None:
    assert parse(text) == fault


@pytest.mark.parametrize(
    "text", ["", "405", "truncate", "404@5", "reset@5:5", "flip@-1", "flip@x", "stall@1:", "=", "a="]
)
def test_what_is_no_fault_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(SettingError) as error:
        parse(text)
    assert str(error.value).startswith(f"{text!r} is no fault; write one of 404, 500, 404-as-200, redirect, chunked, ")
    assert "stall@N:SECONDS" in str(error.value)


def test_a_fault_may_be_for_some_files_only() -> None:
    faults = tuple(map(parse, ("404", "rom1.bin=500", "*/rom1.bin=chunked")))
    assert meant_for("rom1.bin", faults) == faults[:2]
    assert meant_for("clock/rom1.bin", faults) == (faults[0], faults[2])


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
    after = b"".join(step for step in steps([Fault("flip", at)], b"", pieces) if isinstance(step, bytes))
    assert len(after) == len(body)
    assert [place for place in range(len(body)) if after[place] != body[place]] == ([at] if at < len(body) else [])


def test_chunked_encoding_takes_the_place_of_the_length() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nETag: X\r\n\r\n"
    assert sent("chunked") == [head + b"4\r\nabcd\r\n", b"3\r\nefg\r\n", b"2\r\nhi\r\n", b"0\r\n\r\n"]
    assert sent("chunked", "truncate@5")[-2:] == [b"1\r\ne\r\n", End.CLOSE]
    assert sent("chunked", pieces=()) == [head + b"0\r\n\r\n"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_fault_gives_a_body_to_a_response_without_one(kind: str) -> None:
    fault = f"{kind}@0" if kind in ("truncate", "reset", "stall", "flip", "split") else kind
    taken = sent(fault, pieces=(), with_body=False)
    assert End.CLOSE not in taken
    assert End.RESET not in taken
    assert sum(step.seconds for step in taken if isinstance(step, Pause)) < 1
    whole = b"".join(step for step in taken if isinstance(step, bytes))
    assert whole.endswith(b"\r\n\r\n")
    assert whole.count(b"\r\n\r\n") == 1


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
def test_bursts_are_as_long_as_a_device_chokes_on(pieces: list[bytes]) -> None:
    whole = HEAD + b"".join(pieces)
    bursts = [step for step in steps([Fault("bursts")], HEAD, pieces) if isinstance(step, bytes)]
    assert b"".join(bursts) == whole
    assert [len(burst) for burst in bursts[:-1]] == [BURST] * ((len(whole) - 1) // BURST)


@pytest.mark.parametrize("size", [BURST - len(HEAD), BURST, 3 * BURST])
def test_bursts_have_a_pause_between_them_and_none_behind_the_last(size: int) -> None:
    found = list(steps([Fault("bursts")], HEAD, [bytes(size)]))
    assert [isinstance(step, Pause) for step in found] == [index % 2 == 1 for index in range(len(found))]
    assert isinstance(found[-1], bytes)


def test_faults_go_together() -> None:
    taken = sent("lower-case", "flip@0", "truncate@2", "split@3")
    assert taken[0] == b"HTT"
    assert isinstance(taken[1], Pause)
    assert taken[2:] == [
        HEAD[3:].replace(b"Content-Length", b"content-length").replace(b"ETag", b"etag") + b"\x9eb",
        End.CLOSE,
    ]


# The files that they are for

FILES = ("rom0.bin", "rom1.bin", "version", "clock/", "clock/rom0.bin", "releases/1.0.0/rom0.bin")


def refused(text: str, files: tuple[str, ...] = FILES) -> str:
    with pytest.raises(SettingError) as error:
        check([parse("404"), parse(text)], files.__contains__, lambda: files)
    return str(error.value)


@pytest.mark.parametrize(
    "text", ["404", "*=404", "**=404", "rom1.bin=reset@5", "clock/=404", "releases/*=404", "rom?.bin=404", "[rv]*=404"]
)
def test_a_fault_for_a_file_that_there_is_is_taken(text: str) -> None:
    check([parse(text)], FILES.__contains__, lambda: FILES)


def test_a_fault_for_every_file_is_taken_before_there_is_any() -> None:
    check([parse("404"), parse("*=chunked")], lambda _: False, lambda: ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rom2.bin=404", "there is no file 'rom2.bin', which the fault 404 is for; similar: 'rom1.bin', 'rom0.bin'"),
        ("Version=stall@5", "there is no file 'Version', which the fault stall is for; similar: 'version'"),
        ("/rom1.bin=404", "there is no file '/rom1.bin', which the fault 404 is for; similar: 'rom1.bin', 'rom0.bin'"),
        ("x/y/version=404", "there is no file 'x/y/version', which the fault 404 is for; similar: 'version'"),
        ("clocks/*=404", "no file is like 'clocks/*', which the fault 404 is for; similar: 'clock/'"),
        (
            "zzz=404",
            "there is no file 'zzz', which the fault 404 is for; there are 'rom0.bin', 'rom1.bin', 'version', "
            "'clock/', 'clock/rom0.bin', 'releases/1.0.0/rom0.bin'",
        ),
        ("a\nb=404", "there is no file 'a\\nb', which the fault 404 is for; there are 'rom0.bin', 'rom1.bin', "),
    ],
)
def test_a_fault_for_no_file_is_refused_with_one_that_it_may_be_meant_for(text: str, message: str) -> None:
    assert refused(text).startswith(message)


def test_of_many_files_some_are_named() -> None:
    assert refused("zzz=404", tuple(f"rom{number}.bin" for number in range(1010))).endswith(
        "'rom6.bin', 'rom7.bin' and 1,002 more"
    )


def test_without_any_file_it_is_said_what_to_do() -> None:
    assert refused("rom1.bin=404", ()).endswith(
        "; publish something first, or leave the path out, for every file and those that are yet to come"
    )


def test_a_name_with_brackets_is_a_pattern_and_needs_a_file_that_is_like_it() -> None:
    check([parse("a[[]1].bin=404")], lambda _: False, lambda: ("a[1].bin",))
    assert refused("a[1].bin=404", ("a[1].bin",)).endswith("; similar: 'a[1].bin'")
