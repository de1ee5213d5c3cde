from typing import Any

import numpy as np
import pytest
import torch

from astseg._core.errors import AstSegError
from astseg.data.store import Bytes
from astseg.inference.objects import describe_objects
from astseg.inference.tracked_objects import ObjectTracker, median_colors
from astseg.model.segmentation import Segmentation


def segmentation(labels: Bytes, slots: int = 4) -> Segmentation:
    """Slot k has the position, scale, activation and appearance k / 10."""
    tenths = torch.arange(slots) / 10
    pairs = tenths[:, None].expand(slots, 2)
    whole = torch.from_numpy(labels.astype(np.int64))
    return Segmentation(whole, pairs, pairs, tenths, pairs)


def image(*columns: tuple[int, int, int]) -> Bytes:
    """Columns of pixels, 4 high, each a label, its left and its width."""
    labels = np.zeros((10, 40), np.uint8)
    for label, left, width in columns:
        labels[3:7, left : left + width] = label
    return labels


def follow(tracker: ObjectTracker, labels: Bytes) -> tuple[Bytes, list[dict[str, Any]]]:
    """Take a grey image."""
    return tracker.update(np.full((*labels.shape, 3), 128, np.uint8), labels, segmentation(labels))


def test_a_thing_keeps_its_label_as_it_changes_its_slot() -> None:
    tracker = ObjectTracker()
    for slot, left in ((3, 4), (3, 5), (1, 6), (2, 7)):
        labels = image((slot, left, 6))
        tracked, objects = follow(tracker, labels)
        np.testing.assert_array_equal(tracked, labels > 0)
        (expected,) = describe_objects(labels, segmentation(labels))
        assert objects == [{**expected, "label": 1, "track": 1, "slot": slot}]
    assert tracker.tracks == 1


def test_objects_of_tiles_belong_to_no_slot() -> None:
    _, (found,) = follow(ObjectTracker(by_slot=False), image((3, 4, 6)))
    assert (found["label"], found["track"]) == (1, 1)
    assert "slot" not in found


def test_of_two_slots_the_larger_speaks_for_both() -> None:
    tracker = ObjectTracker()
    follow(tracker, image((1, 10, 10)))
    labels = image((4, 10, 3), (2, 13, 7))
    tracked, (found,) = follow(tracker, labels)
    np.testing.assert_array_equal(tracked, labels > 0)
    assert (found["box"], found["area"], found["activation"]) == ([10, 3, 10, 4], 40, 0.1)


def test_labels_begin_again_after_255_and_pass_over_those_in_use() -> None:
    tracker = ObjectTracker()
    stays = image((1, 0, 4))
    follow(tracker, stays)
    tracker.tracker.begun = 255
    labels = image((1, 0, 4), (2, 10, 4), (3, 20, 4))
    tracked, objects = follow(tracker, labels)
    assert [(entry["label"], entry["track"]) for entry in objects] == [(1, 1), (2, 256), (3, 257)]
    np.testing.assert_array_equal(tracked, labels)


def test_more_objects_than_labels() -> None:
    dots = np.zeros((40, 80), np.uint8)
    dots[::2, ::2] = 1  # 800 dots, each an object
    tracker = ObjectTracker()
    with pytest.raises(AstSegError, match="up to 255 objects; here are 800"):
        follow(tracker, dots)


def test_hidden_tracks_lose_their_labels_before_visible_ones() -> None:
    tracker = ObjectTracker()
    many = np.zeros((40, 80), np.uint8)
    many[:20:2, ::2] = 1  # 400 dots are too many, 200 and 200 in two frames are not
    first, second = many.copy(), np.zeros_like(many)
    first[10:] = 0
    second[24:34:2, ::2] = 1
    for labels in (first, second):
        _, objects = follow(tracker, labels)
        assert len({entry["label"] for entry in objects}) == 200


@pytest.mark.parametrize("stays", [1, 2])
def test_colors_tell_who_comes_back(stays: int) -> None:
    """Two things side by side, then one of them between their places."""
    colors = np.array([[0, 0, 0], [200, 30, 30], [30, 30, 200]], np.uint8)
    tracker = ObjectTracker()
    both = image((1, 8, 6), (2, 20, 6))
    _, objects = tracker.update(colors[both], both, segmentation(both))
    tracks = {entry["label"]: entry["track"] for entry in objects}
    one = image((3, 14, 6))
    _, (found,) = tracker.update(colors[np.where(one, stays, 0)], one, segmentation(one))
    assert found["track"] == tracks[stays]


def test_median_colors() -> None:
    random = np.random.default_rng(0)
    colors, labels = random.integers(0, 256, (12, 15, 3), np.uint8), random.integers(0, 6, (12, 15), np.uint8)
    labels[labels == 2] = 0
    found = median_colors(colors, labels)
    assert found.shape == (5, 3)
    assert not found[1].any()
    for label in (1, 3, 4, 5):
        channels = [sorted(int(value) for value in colors[labels == label, channel]) for channel in range(3)]
        middle = [(each[(len(each) - 1) // 2] + each[len(each) // 2]) / 2 for each in channels]
        np.testing.assert_array_equal(found[label - 1], middle)
    assert median_colors(colors, np.zeros_like(labels)).shape == (0, 3)
