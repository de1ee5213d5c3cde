"""Labels and objects of a video by tracks: a thing keeps its label as it goes from slot to slot."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects

from astseg._core.errors import AstSegError
from astseg.data.store import MAX_LABELS, Bytes
from astseg.inference.objects import describe_objects
from astseg.inference.tracking import Tracker
from astseg.model.segmentation import Segmentation


class ObjectTracker:
    """Follows the objects of successive images.

    A track's label is its number; beyond 255, the numbers begin again at 1 (256 is 1), and labels of tracks that may
    still be seen again are passed over. A label stays as long as its track.

    Args:
        by_slot: whether labels are slots, which are told; those of objects that were joined from tiles are none.
    """

    def __init__(self, *, by_slot: bool = True) -> None:
        self.tracker = Tracker()
        self._by_slot = by_slot
        self._labels: dict[int, int] = {}
        """Of the tracks that go on, by number."""

    @property
    def tracks(self) -> int:
        """How many tracks have begun."""
        return self.tracker.begun

    def update(self, image: Bytes, labels: Bytes, segmentation: Segmentation) -> tuple[Bytes, list[dict[str, Any]]]:
        """Take the next image.

        Args:
            image: H x W x 3. Its colors tell objects apart: they change less as a thing goes from slot to slot than
                ``z_what`` does.
            labels: H x W, by slot; 0 is the background.
            segmentation: of this image alone.

        Returns:
            The labels by track; and what `describe_objects` says of them, with the ``track`` and, by slot, the
            ``slot`` of each object. Of several slots in one track, the one of most pixels tells the slot, position,
            scale, activation and appearance.

        Raises:
            AstSegError: there are more than 255 objects.
        """
        tracks = self.tracker.update(labels, median_colors(image, labels))
        numbers = [int(number) for number in np.unique(tracks) if number]
        self._label(numbers)
        tracked = np.zeros(labels.shape, np.uint8)
        slots = {}
        for number in numbers:
            pixels = tracks == number
            tracked[pixels] = self._labels[number]
            slots[self._labels[number]] = int(np.bincount(labels[pixels]).argmax()) - 1
        by_label = {label: number for number, label in self._labels.items()}
        found = describe_objects(tracked, segmentation, slots)
        objects = []
        for entry in found:
            label = entry["label"]
            slot = {"slot": slots[label] + 1} if self._by_slot else {}
            objects.append({"label": label, "track": by_label[label], **slot, **entry})
        return tracked, objects

    def _label(self, numbers: list[int]) -> None:
        """Give labels to tracks that are new, and take them from those that have ended."""
        alive = {track.number for track in self.tracker.tracks}
        kept = {number: label for number, label in self._labels.items() if number in alive}
        new = [number for number in numbers if number not in kept]
        if len(kept) + len(new) > MAX_LABELS:  # then the hidden tracks lose theirs
            kept = {number: label for number, label in kept.items() if number in numbers}
        if len(kept) + len(new) > MAX_LABELS:
            raise AstSegError(f"Label images hold up to {MAX_LABELS} objects; here are {len(numbers)}.")
        for number in new:
            taken = set(kept.values())
            candidates = ((number - 1 + step) % MAX_LABELS + 1 for step in range(MAX_LABELS))
            kept[number] = next(label for label in candidates if label not in taken)
        self._labels = kept


def median_colors(image: Bytes, labels: Bytes) -> npt.NDArray[np.float64]:
    """Return the median color of each label's pixels, from label 1 to the largest; 0 for one without pixels.

    Args:
        image: H x W x 3.
        labels: H x W; 0 is the background.
    """
    boxes = find_objects(labels)
    colors = np.zeros((len(boxes), 3))
    for label, box in enumerate(boxes, 1):
        if box is not None:
            colors[label - 1] = np.median(image[box][labels[box] == label], axis=0)
    return colors
