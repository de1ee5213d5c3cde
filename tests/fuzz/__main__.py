"""Damage small files in thousands of ways, and see that every reader says so in a sentence.

::

    python -m tests.fuzz --cases 2000                  # every reader
    python -m tests.fuzz --cases 50000 --reader npz    # one of them
    python -m tests.fuzz --reader npz --case 1234      # one case again, with its traceback

It prints, for each reader, how many damaged files were refused, read as before, and read differently, and each case
that ended otherwise: with an error that is no sentence, after more than ten seconds, or, if the format has checksums,
with another content and no word of it. A case is its number: the same damages in every run.
"""

import argparse
import random
import resource
import signal
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from types import FrameType

from tests.fuzz.mutations import apply_edits, draw_edits
from tests.fuzz.readers import READERS, Reader, digest, legitimate, read_seeds

MAX_SECONDS = 10
MAX_BYTES = 6 << 30
"""Of address space: a claim that is believed ends in a MemoryError."""


class Hang(BaseException):
    """A reader did not return."""


def fuzz(reader: Reader, cases: range, *, show: bool = False) -> Counter[str]:
    """Try the cases of one reader; print those that are lost, and return how many ended how."""
    ends: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        seeds, expected = read_seeds(reader, folder)
        file = folder / reader.file
        for case in cases:
            numbers = random.Random(f"{reader.name} {case}")
            chosen = numbers.randrange(len(seeds))
            file.write_bytes(apply_edits(seeds[chosen], draw_edits(numbers)))
            end = _try(reader, file, expected[chosen], show=show)
            ends[end.split(":")[0]] += 1
            if end.startswith("LOST"):
                print(f"{reader.name}, case {case}: {end[:300]}", flush=True)
    return ends


def _try(reader: Reader, file: Path, expected: str, *, show: bool) -> str:
    signal.alarm(MAX_SECONDS)
    try:
        with warnings.catch_warnings(action="ignore"):
            found = digest(reader.read(file))
    except Hang:
        return f"LOST hang: more than {MAX_SECONDS} s"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) or show:
            raise
        return "refused" if legitimate(error) else f"LOST error: {type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    if found == expected:
        return "same"
    return "LOST difference" if reader.checked else "other content"


def main() -> None:
    """Run the cases of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--reader", help="one of them, or all from it on if it ends in +")
    parser.add_argument("--case", type=int)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))

    def hang(number: int, frame: FrameType | None) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, hang)
    first = options.first if options.case is None else options.case
    count = options.cases if options.case is None else 1
    lost = 0
    names = [reader.name for reader in READERS]
    begin = names.index(options.reader.rstrip("+")) if options.reader else 0
    end = begin + 1 if options.reader in names else len(names)
    for reader in READERS[begin:end]:
        ends = fuzz(reader, range(first, first + count), show=options.case is not None)
        lost += sum(number for end, number in ends.items() if end.startswith("LOST"))
        print(f"{reader.name}: {', '.join(f'{number} {end}' for end, number in sorted(ends.items()))}", flush=True)
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
