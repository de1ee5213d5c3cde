"""Damage files as `python -m tests.fuzz` does, but go on from those damages that reach new lines of a reader.

::

    pip install atheris                                        # Linux, macOS; Python 3.11 to 3.13
    python -m tests.fuzz.guided npz --seconds 60               # one reader
    python -m tests.fuzz.guided npz --seconds 60 --kept FOLDER # go on from what an earlier run kept

Half of the damages are those of `mutations.py`, the others libFuzzer's own. Files that reached something new are kept
in a folder; what ended in an error that is no sentence lies in its subfolder ``lost``. Only errors and hangs are looked
for: of two valid files, a third may be made.
"""

import argparse
import hashlib
import random
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["astseg"]):
    from tests.fuzz.mutations import apply_edits, draw_edits
    from tests.fuzz.readers import READERS, legitimate

MAX_BYTES = 1 << 16
MAX_SECONDS = 10
MAX_MEGABYTES = 6 << 10


def main() -> None:
    """Fuzz the reader of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader", choices=[reader.name for reader in READERS])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "astseg-fuzz")
    options = parser.parse_args()
    reader = next(one for one in READERS if one.name == options.reader)
    kept = options.kept / reader.name.replace("/", "-")
    (kept / "lost").mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp())
    for number, seed in enumerate(reader.seeds(place)):
        (kept / f"seed-{number}").write_bytes(seed)
    file = place / reader.file

    def read(content: bytes) -> None:
        file.write_bytes(content)
        try:
            with warnings.catch_warnings(action="ignore"):
                reader.read(file)
        except Exception as error:
            if not legitimate(error):
                lost = kept / "lost" / hashlib.sha256(content).hexdigest()[:12]
                lost.write_bytes(content)
                print(f"LOST {reader.name}: {type(error).__name__}: {error}"[:300], f"in {lost}", flush=True)

    def mutate(content: bytes, longest: int, seed: int) -> bytes:
        if seed % 2:
            return bytes(atheris.Mutate(content, len(content) or 1))
        return apply_edits(content, draw_edits(random.Random(seed)))[:longest]

    limits = [f"-max_total_time={options.seconds}", f"-max_len={MAX_BYTES}", f"-timeout={MAX_SECONDS}"]
    limits += [f"-rss_limit_mb={MAX_MEGABYTES}", f"-artifact_prefix={kept / 'lost'}/", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], str(kept), *limits], read, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
