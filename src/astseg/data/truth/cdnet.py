"""The truth of a sequence as CDnet 2014 publishes it.

A sequence is a folder::

    input/in000001.jpg          the frames, counted from 1
    groundtruth/gt000001.png    0 static, 50 hard shadow, 85 outside the region of interest, 170 unknown, 255 moving
    ROI.bmp                     what is scored of each frame: white
    temporalROI.txt             the first and the last frame that is scored: "470 1700"
"""

import re
from pathlib import Path

import numpy as np

from astseg._core.connected_pieces import connected_pieces
from astseg._core.errors import AstSegError
from astseg._core.image_files import open_image
from astseg._core.input_files import regular_size
from astseg.data.mask_edges import CDNET_CODES, CDNET_IGNORED, CDNET_SHADOW
from astseg.data.masks import read_raw_masks
from astseg.data.regions import Mask, Truth, regions_of_labels
from astseg.data.truth.true_images import ImageName, TrueImages

TRUTH_FOLDER = "groundtruth"
ROI_FILE = "ROI.bmp"
FRAMES_FILE = "temporalROI.txt"
MAX_FRAMES_BYTES = 1 << 10
MOVING = max(CDNET_CODES)


class CdnetTruth(TrueImages):
    """The true masks of a sequence.

    Args:
        folder: ``groundtruth``, with the other files beside it if they are there.

    Raises:
        AstSegError: a file beside the masks is damaged.
    """

    description = (
        "Truth by CDnet's rule: moving (255) is foreground, static (0) and hard shadow (50) are background, "
        "85 and 170 are not scored. The truth does not tell objects apart, so what is connected is one."
    )

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._roi = _read_roi(folder.parent / ROI_FILE)
        self._first, self._last = _read_frames(folder.parent / FRAMES_FILE)

    def key(self, image: ImageName) -> int | None:
        """Return the number of a frame in the sequence; None if nothing of it is scored."""
        # The frames of a video, an array or a stack are counted from 0, those of the sequence from 1.
        number = _frame_number(image)
        if number is None or not self._first <= number <= self._last:
            return None
        return number if self._mask_file(number).is_file() else None

    def _mask_file(self, number: int) -> Path:
        return self.folder / f"gt{number:06d}.png"

    def _read(self, key: int, image: Path | None) -> Truth | None:
        path = self._mask_file(key)
        codes = next(read_raw_masks(path)).codes
        if unknown := set(np.unique(codes).tolist()) - CDNET_CODES:
            raise AstSegError(f"{path} has a value {min(unknown)}; CDnet's are {sorted(CDNET_CODES)}.")
        if self._roi is not None and self._roi.shape != codes.shape:
            raise AstSegError(f"{path} has {codes.shape} pixels, the region of interest beside it {self._roi.shape}.")
        unscored = np.isin(codes, list(CDNET_IGNORED))
        if self._roi is not None:
            unscored |= ~self._roi
        if unscored.all():
            return None
        objects = connected_pieces((codes == MOVING) & ~unscored)
        return Truth(regions_of_labels(objects), unscored, shadow=codes == CDNET_SHADOW)


def find_cdnet(path: Path) -> Path | None:
    """Return the folder of true masks of a sequence if a path is this folder or that of the sequence; or None."""
    for folder in (path, path / TRUTH_FOLDER):
        if folder.is_dir() and any(folder.glob("gt[0-9][0-9][0-9][0-9][0-9][0-9].png")):
            return folder
    return None


def _frame_number(image: ImageName) -> int | None:
    """Return the number of a frame in its sequence, from 1 on."""
    match = re.search(r"(\d+)$", image.name)
    return None if match is None else int(match[1]) + image.counted_from_zero


def _read_roi(path: Path) -> Mask | None:
    if not path.exists():
        return None
    with open_image(path) as image:
        return np.array(image.convert("L").point(lambda value: 255 * (value > 127)), np.uint8) > 0


def _read_frames(path: Path) -> tuple[int, float]:
    if not path.exists():
        return 1, np.inf
    try:
        regular_size(path)
        with path.open("rb") as file:
            text = file.read(MAX_FRAMES_BYTES)
    except OSError as error:
        raise AstSegError(f"{path} should hold two numbers, such as '470 1700': {error.strerror}.") from error
    try:
        first, last = map(int, text.split())
    except ValueError as error:
        shown = text[:40].decode("ascii", "replace")
        raise AstSegError(f"{path} should hold two numbers, such as '470 1700', not {shown!r}.") from error
    return first, last
