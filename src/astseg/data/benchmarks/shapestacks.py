"""Read ShapeStacks as published: images of towers from sixteen cameras, instance maps, and lists of scenarios.

The instance maps end in `.map` but are PNG images. The label is the first channel divided by 32: 0 is the background,
1 to 6 are shapes, and 7 marks unassigned pixels, which become background and are counted.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from astseg._core.errors import AstSegError
from astseg.data.benchmarks.archives import ArchiveMember, ArchiveSource
from astseg.data.benchmarks.preprocessing import open_png, prepare_image, prepare_labels
from astseg.data.benchmarks.staging import IMAGE, MASK
from astseg.data.store import Bytes

CROP = 196
CAMERAS = 16
UNASSIGNED_LABEL = 7
LEVELS_PER_LABEL = 32
SPLIT_FILES = {"train": "train", "validation": "eval", "test": "test"}  # our name of a split, and theirs
MAX_SCENARIOS, MAX_NAME_LENGTH = 200_000, 255  # 20 000 are published
MAX_LIST_ARCHIVE_SIZE = 100 << 20  # bytes; larger archives are not searched for the lists

IMAGE_NAME = re.compile(r"(?:.*/)?recordings/([^/]+)/rgb-[^/]*cam_(\d+)-mono-0\.png")
MASK_NAME = re.compile(r"(?:.*/)?iseg/([^/]+)/iseg-w=0-f=0-l=0-c=original-cam_(\d+)-mono-0\.map")


def read_lists(sources: Sequence[ArchiveSource], folder: str) -> dict[str, list[str]]:
    """Read the lists of scenarios, `splits/<folder>/{train,eval,test}.txt`.

    Returns:
        The scenarios of train, validation and test, in the order of the lists.

    Raises:
        AstSegError: a list is missing, or is none.
    """
    found: dict[str, list[str]] = {}
    wanted = {f"splits/{folder}/{theirs}.txt": ours for ours, theirs in SPLIT_FILES.items()}
    for source in sources:
        if source.size > MAX_LIST_ARCHIVE_SIZE:
            continue
        for member in source.members():
            split = next((ours for end, ours in wanted.items() if f"/{member.name}".endswith(f"/{end}")), None)
            if split is not None:
                found[split] = _scenarios(member)
        if len(found) == len(SPLIT_FILES):
            return {split: found[split] for split in SPLIT_FILES}
    missing = [theirs for theirs, ours in wanted.items() if ours not in found]
    raise AstSegError(
        f"No {missing[0]} was found. Give the folder that holds splits, recordings and iseg, "
        f"or all three archives: shapestacks-meta, shapestacks-rgb and shapestacks-iseg."
    )


def _scenarios(member: ArchiveMember) -> list[str]:
    """Return the names in a list.

    Raises:
        AstSegError: the file is no text, or holds something that is no name or too many of them.
    """
    try:
        names = member.read().decode().split()
    except ValueError as error:
        raise AstSegError(f"{member.name} is not a list of scenarios: {error}.") from error
    wrong = next((name for name in names if not name.isprintable() or len(name) > MAX_NAME_LENGTH), None)
    if wrong is not None or not len(set(names)) == len(names) <= MAX_SCENARIOS:
        raise AstSegError(
            f"{member.name} is not a list of scenarios, which should be at most {MAX_SCENARIOS} different names of "
            f"up to {MAX_NAME_LENGTH} characters. Download it again."
        )
    return names


def scenario_numbers(lists: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Number the scenarios in the order of the lists."""
    return {name: number for number, name in enumerate(name for names in lists.values() for name in names)}


def file_index(name: str, scenarios: Mapping[str, int]) -> tuple[int, int] | None:
    """Return the image index and the kind (`IMAGE` or `MASK`) of a file by its path; None for other files.

    Images are numbered by scenario, then by camera (1 to 16), whatever the order of the directory or archive.
    """
    for pattern, kind in ((IMAGE_NAME, IMAGE), (MASK_NAME, MASK)):
        if match := pattern.fullmatch(f"/{name}"):
            number, camera = scenarios.get(match[1]), int(match[2])
            if number is not None and 1 <= camera <= CAMERAS:
                return CAMERAS * number + camera - 1, kind
    return None


def decode(data: bytes, kind: int, size: int) -> Bytes:
    """Decode and prepare an image or a map: crop 196 x 196 from the center, resize to size x size.

    Labels are 0 to 7, including 7 for unassigned pixels.

    Raises:
        ValueError: the image is too small or too large, or the file is damaged.
    """
    with open_png(data) as image:
        pixels = np.asarray(image.convert("RGB"))
    if kind == IMAGE:
        return prepare_image(pixels, CROP, size)
    return prepare_labels(pixels[..., 0] // np.uint8(LEVELS_PER_LABEL), CROP, size)
