"""The history: which versions are current and withdrawn after any commands, and its file."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import semver
from hypothesis import given
from hypothesis import strategies as st
from support.updates import MINIMAL

from rbootimg.errors import ManifestError
from rbootimg.release.history import History

VERSIONS = st.sampled_from(["0.9.0", "1.0.0-rc.1", "1.0.0", "1.1.0", "1.2.0", "2.0.0"])
COMMANDS = st.lists(st.tuples(st.sampled_from(["publish", "publish", "roll back", "prune"]), VERSIONS), max_size=12)


def histories(commands: list[tuple[str, str]]) -> Iterator[tuple[str, History, History]]:
    """The history before and after each command that is possible."""
    now = History("blink", (), {}).published("1.0.0", "0" * 64)
    for command, version in commands:
        before = now
        if command == "publish":
            now = now.published(version, "0" * 64)
        elif command == "prune":
            now = now.pruned(1)
        elif version in now.manifests:
            now = now.rolled_back(version)
        else:
            continue
        yield command, before, now


@given(COMMANDS)
def test_what_was_rolled_back_is_withdrawn_until_it_is_current_again(commands: list[tuple[str, str]]) -> None:
    withdrawn: set[str] = set()
    for command, before, now in histories(commands):
        if command == "roll back":
            withdrawn |= {*before.versions} - {*now.versions}
            if semver.Version.parse(before.current) > now.current:
                withdrawn.add(before.current)
        withdrawn.discard(now.current)
        assert {*now.withdrawn} == withdrawn
        assert len(now.withdrawn) == len(withdrawn)


@given(COMMANDS)
def test_a_later_rollback_is_later_in_the_list(commands: list[tuple[str, str]]) -> None:
    for _, before, now in histories(commands):
        kept = [version for version in before.withdrawn if version in now.withdrawn]
        assert [*now.withdrawn[: len(kept)]] == kept


@given(COMMANDS)
def test_a_history_is_read_as_it_is_written(commands: list[tuple[str, str]]) -> None:
    for _, _, now in histories(commands):
        assert History.from_json(now.to_json()) == now


@given(COMMANDS)
def test_of_a_history_that_has_no_list_the_releases_tell(commands: list[tuple[str, str]]) -> None:
    for _, _, now in histories(commands):
        values = json.loads(now.to_json())
        del values["withdrawn"]
        found = History.from_json(json.dumps(values).encode()).withdrawn
        assert {*found} <= {*now.manifests} - {*now.versions}
        newer = {
            known
            for known in now.manifests
            if semver.Version.parse(known) > max(now.versions, key=semver.Version.parse)
        }
        assert newer - {*now.versions} <= {*found}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("withdrawn", ["1.0.0"], "withdrawn: expected each version once, and not the current one"),
        ("withdrawn", ["2.0.0", "2.0.0"], "withdrawn: expected each version once"),
        ("withdrawn", ["2"], "history: withdrawn: invalid version '2'"),
        ("withdrawn", "2.0.0", "invalid 'withdrawn': expected a list of strings"),
        ("update", 5, "invalid 'update': expected a string"),
        ("update", "x", "history: update: not an update file"),
        ("update", MINIMAL.to_bytes().decode(), "history: update: expected 1.0.0 of blink, got 1.3.0 of blink"),
        ("update", "untrusted comment: x\n" + MINIMAL.to_bytes().decode(), "history: update: invalid signature"),
    ],
)
def test_what_is_no_history_is_refused(key: str, value: object, message: str) -> None:
    values = json.loads(History("blink", ("1.0.0",), {"1.0.0": "0" * 64}).to_json()) | {key: value}
    with pytest.raises(ManifestError, match=message):
        History.from_json(json.dumps(values).encode())
