"""Tracks of drawn blocks, whose true identities are known."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from astseg.inference.regions import find_pieces
from astseg.inference.tracking import Tracker, TrackingSettings

Labels = npt.NDArray[np.int64]
Block = tuple[int, int, int, int, int]
"""Label, top, left, height, width."""


def draw(*blocks: Block, size: tuple[int, int] = (40, 60)) -> Labels:
    """Draw blocks into an image; later ones hide earlier ones, and what is outside is cut off."""
    image = np.zeros(size, np.int64)
    for label, top, left, height, width in blocks:
        image[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = label
    return image


def follow(frames: Iterable[Labels], tracker: Tracker | None = None) -> list[Labels]:
    tracker = tracker or Tracker()
    return [tracker.update(frame) for frame in frames]


def tracks_in(image: Labels) -> set[int]:
    return set(np.unique(image).tolist()) - {0}


def crossing(frames: int = 40) -> list[Labels]:
    """A small block passes behind a large one that goes the other way."""
    return [draw((1, 16, 2 + t, 6, 6), (2, 12, 46 - t, 14, 10)) for t in range(frames)]


def test_objects_that_cross_keep_their_tracks_though_one_is_hidden() -> None:
    frames = crossing()
    assert any(1 not in frame for frame in frames)
    for frame, tracks in zip(frames, follow(frames), strict=True):
        np.testing.assert_array_equal(tracks, np.array([0, 2, 1])[frame])  # 1 is the one that begins higher up


@given(st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=5)
def test_slots_do_not_matter(random: Random) -> None:
    frames = crossing()
    shuffled = []
    for frame in frames:
        numbers = list(range(1, 9))
        random.shuffle(numbers)
        shuffled.append(np.array([0, *numbers])[frame])
    for one, other in zip(follow(frames), follow(shuffled), strict=True):
        np.testing.assert_array_equal(one, other)


def test_tracks_do_not_depend_on_the_kind_of_numbers() -> None:
    frames = crossing()
    for one, other in zip(follow(frames), follow(frame.astype(np.uint8) for frame in frames), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_copy_goes_on_like_the_original() -> None:
    frames = crossing()
    tracker = Tracker()
    follow(frames[:20], tracker)
    stopped = copy.deepcopy(tracker)
    for one, other in zip(follow(frames[20:], tracker), follow(frames[20:], stopped), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("missing", "expected"), [(5, {1}), (40, {2})])
def test_a_gap_may_be_short(missing: int, expected: set[int]) -> None:
    frames = [draw((1, 10, 20 + t // 8, 8, 8)) for t in range(60)]
    for t in range(10, 10 + missing):
        frames[t] = draw()
    assert tracks_in(follow(frames)[-1]) == expected


@pytest.mark.parametrize(("absence", "expected"), [(0.0, 1), (TrackingSettings().absence, 2)])
def test_of_two_tracks_that_fit_alike_the_one_that_was_seen_goes_on(absence: float, expected: int) -> None:
    """What is found nearer to a thing that is gone than to one that is there is the one that is there."""
    frames = [draw((1, 10, 10, 8, 8), (2, 10, 20, 8, 8)), draw((2, 10, 20, 8, 8)), draw((1, 10, 14, 8, 8))]
    found = follow(frames, Tracker(TrackingSettings(absence=absence)))
    assert tracks_in(found[1]) == {2}
    assert tracks_in(found[2]) == {expected}


def test_what_has_left_the_image_does_not_come_back() -> None:
    leaving = [draw((1, 10, 50 + 2 * t, 8, 8)) for t in range(8)]
    entering = [draw((1, 10, 60 - 2 * t, 8, 8)) for t in range(1, 8)]
    found = follow([*leaving, draw(), draw(), *entering])
    assert tracks_in(found[0]) == {1}
    assert tracks_in(found[-1]) == {2}


def test_two_slots_on_one_lorry_are_one_track() -> None:
    """The lorry goes from slot 1 to slot 2, which for some frames has its front."""
    frames = [draw((1, 10, 5 + t, 10, 20), (2, 10, 5 + t + 22 - 2 * t, 10, max(0, 2 * t - 2))) for t in range(-4, 10)]
    frames += [draw((2, 10, 15 + t, 10, 20)) for t in range(5)]
    for frame, tracks in zip(frames, follow(frames), strict=True):
        np.testing.assert_array_equal(tracks, frame > 0)


def test_parts_that_come_apart_are_two_tracks() -> None:
    """One slot has two cars that touch; then another slot takes the right one, and it drives away."""
    together = [draw((1, 10, 10, 8, 20))] * 3
    apart = [draw((1, 10, 10, 8, 10), (2, 10, 20 + t, 8, 10)) for t in range(6)]
    found = follow([*together, *apart])
    assert tracks_in(found[3]) == {1}
    assert tracks_in(found[-1]) == {1, 2}


def test_a_slot_that_holds_two_cars_gives_two_tracks_which_stay_when_they_get_slots_of_their_own() -> None:
    shared = [draw((1, 10, 5 + t, 6, 8), (1, 25, 30 + t, 6, 8)) for t in range(4)]
    own = [draw((1, 10, 5 + t, 6, 8), (2, 25, 30 + t, 6, 8)) for t in range(4, 8)]
    found = follow([*shared, *own])
    for tracks in found:
        assert tracks_in(tracks) == {1, 2}
        assert tracks_in(tracks[:20]) == {1}


def test_two_cars_that_meet_in_one_slot_stay_two_tracks() -> None:
    """They drive one beside the other, at one time in two slots, then in one, and again in two."""
    frames = [draw((1, 10, 2 + t, 8, 10), (2, 18, 4 + t, 8, 10)) for t in range(24)]
    for t in range(8, 16):
        frames[t][frames[t] == 2] = 1
    found = follow(frames)
    for t in range(24):
        assert tracks_in(found[t][:18]) == {1}
        assert tracks_in(found[t][18:]) == {2}


def test_appearance_tells_who_comes_out_from_behind() -> None:
    """Two alike in size meet behind a wall; one of them turns back: only their looks tell which."""

    def frame(t: int) -> Labels:
        red = (1, 10, 4 + 2 * t, 6, 6) if t < 10 else (1, 10, 22 - 2 * (t - 16), 6, 6)
        return draw(red, (3, 4, 20, 18, 14)) if t < 10 or t > 16 else draw((3, 4, 20, 18, 14))

    looks = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, -1.0]])
    tracker = Tracker()
    first = tracker.update(frame(0), looks)
    for t in range(1, 22):
        red = tracker.update(frame(t), looks)
    assert red[frame(21) == 1].max() == first[frame(0) == 1].max()
    other = Tracker()
    for t in range(17):
        other.update(frame(t), looks)
    for t in range(17, 22):
        green = other.update(np.where(frame(t) == 1, 2, frame(t)), looks)
    assert green[frame(21) == 1].max() == 3


@pytest.mark.parametrize("labels", [draw(), np.zeros((1, 1), np.int64), draw((7, 0, 0, 40, 60)), draw((1, 3, 3, 1, 1))])
def test_images_of_nothing_one_thing_and_one_pixel(labels: Labels) -> None:
    for tracks in follow([labels, draw(size=(labels.shape[0], labels.shape[1])), labels, labels]):
        assert tracks_in(tracks) <= {1}
    assert follow([labels])[0].shape == labels.shape


def test_tensors_are_followed_too() -> None:
    frames = crossing(6)
    tracker = Tracker()
    for frame, expected in zip(frames, follow(frames), strict=True):
        np.testing.assert_array_equal(tracker.update(torch.from_numpy(frame)), expected)


@pytest.mark.parametrize("labels", [-draw((3, 1, 1, 5, 5)), draw((3, 1, 1, 5, 5)) / 2, draw((3, 1, 1, 5, 5))[None]])
def test_what_is_no_label_image(labels: Labels) -> None:
    with pytest.raises(ValueError, match="labels should be H x W whole numbers from 0 on"):
        Tracker().update(labels)


def test_a_label_without_features() -> None:
    with pytest.raises(ValueError, match="label 3 has no features: there are 2 rows of them"):
        Tracker().update(draw((3, 1, 1, 5, 5)), np.zeros((2, 4)))


def test_memory_does_not_grow() -> None:
    tracker = Tracker(TrackingSettings(max_gap=5))
    generator = np.random.default_rng(0)
    for _ in range(100):
        top, left = generator.integers(0, 30, 2)
        tracker.update(draw((1, int(top), int(left), 5, 5)))
        assert len(tracker.tracks) <= 6
    assert tracker.begun > 20


@pytest.mark.parametrize("name", ["overlap", "absence", "max_cost", "memory", "part_share", "least_size"])
def test_impossible_settings_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} should be .*, not -1$"):
        replace(TrackingSettings(), **{name: -1})


def slow_pieces(labels: Labels) -> list[set[tuple[int, int]]]:
    """Return the pieces of at least a fifth of their label's largest by flood fill, the others with the largest."""
    pixels = {(int(row), int(column)) for row, column in np.argwhere(labels)}
    found: dict[int, list[set[tuple[int, int]]]] = {}
    while pixels:
        island, edge = set(), [pixels.pop()]
        while edge:
            row, column = edge.pop()
            island.add((row, column))
            beside = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & pixels
            pixels -= beside
            edge += beside
        for label in {int(labels[pixel]) for pixel in island}:
            found.setdefault(label, []).append({pixel for pixel in island if labels[pixel] == label})
    return [piece for pieces in found.values() for piece in _without_shreds(pieces)]


def _without_shreds(pieces: Sequence[set[tuple[int, int]]]) -> list[set[tuple[int, int]]]:
    largest = max(pieces, key=lambda piece: (len(piece), [-part for part in min(piece)]))
    shreds = [piece for piece in pieces if len(piece) < len(largest) / 5]
    return [largest.union(*shreds), *(piece for piece in pieces if piece not in shreds and piece is not largest)]


@given(st.integers(0, 2**32 - 1))
@example(536966)  # a shred beside two equally large pieces
@settings(deadline=None)
def test_pieces_agree_with_a_flood_fill(seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 4, (8, 9)) * (generator.random((8, 9)) < generator.uniform(0.1, 0.9))
    pieces = find_pieces(labels)
    found = [{(int(r), int(c)) for r, c in np.argwhere(pieces.image == k + 1)} for k in range(len(pieces.regions))]
    assert sorted(map(sorted, found)) == sorted(map(sorted, slow_pieces(labels)))
    assert [min(piece) for piece in found] == sorted(min(piece) for piece in found)
    for piece, region, label in zip(found, pieces.regions, pieces.labels, strict=True):
        assert {int(labels[pixel]) for pixel in piece} == {label}
        assert region.area == len(piece)
        np.testing.assert_allclose(region.centroid, np.mean(sorted(piece), 0))
