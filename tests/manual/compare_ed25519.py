"""The chip's Ed25519, on the host, against OpenSSL on 100,000 altered signatures. It takes minutes; run by hand:

    PYTHONPATH=tests python tests/manual/compare_ed25519.py [count] [seed]

The suite does the same with 3,000: test_ed25519.py.
"""

from __future__ import annotations

import collections
import itertools
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from support.ed25519 import altered_cases, build_host_program, openssl_accepts, refusal, verify

BATCH = 1000


def compare(program: Path, seed: int) -> collections.Counter[str]:
    """Compare BATCH signatures; the numbers of each kind."""
    cases = list(altered_cases(BATCH, seed))
    kinds: collections.Counter[str] = collections.Counter()
    for case, is_valid in zip(cases, verify(program, cases)):
        is_accepted = openssl_accepts(case)
        reason = refusal(case) if is_accepted else None
        kinds[f"refused: {reason}" if reason else "valid" if is_accepted else "invalid"] += 1
        if is_valid != (is_accepted and reason is None):
            kinds["different"] += 1
            print(f"different: {case}")
    return kinds


def main(count: int = 100_000, seed: int = 1) -> None:
    total: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as directory, ProcessPoolExecutor(2) as both:
        program = build_host_program(Path(directory), "-O2")
        for kinds in both.map(compare, itertools.repeat(program), range(seed, seed + count // BATCH)):
            total += kinds
    for kind, number in total.most_common():
        print(f"{number:7,} {kind}")
    sys.exit(total["different"] > 0)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
