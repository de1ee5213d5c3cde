import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from tests.tensors import random

from astseg.model.label_rule.mean_field import neighbor_affinities
from astseg.model.label_rule.slot_grouping import (
    drop_shadow_slots,
    drop_specks,
    fill_unused_slots,
    merge_duplicate_slots,
    pixels_near_objects,
    split_parts,
)


class TestDropShadowSlots:
    def test_equals_a_loop_over_slots(self) -> None:
        weights, errors = (6 * random(8, 5, 4, 6)).softmax(1), random(8, 1, 4, 6, seed=1)
        found = drop_shadow_slots(weights, errors, 0.45)
        gone = 0
        for own, error, result in zip(weights.numpy(), errors[:, 0].numpy(), found.numpy(), strict=True):
            labels, expected = own.argmax(0), own.copy()
            for slot in range(1, 5):
                distances = np.sort(error[labels == slot])
                if len(distances) and distances[(len(distances) - 1) // 2] < 0.45:
                    expected[slot] = 0
                    gone += 1
            np.testing.assert_allclose(result, expected / expected.sum(0), rtol=1e-9)
        assert 5 < gone < 27  # otherwise nothing is tested

    def test_zero_keeps_all(self) -> None:
        weights = random(1, 3, 4, 5).softmax(1)
        assert drop_shadow_slots(weights, torch.zeros(1, 1, 4, 5, dtype=torch.float64), 0.0) is weights

    def test_an_image_of_shades_is_background(self) -> None:
        weights = torch.nn.functional.one_hot(torch.ones(1, 4, 5, dtype=torch.long), 3).permute(0, 3, 1, 2).double()
        found = drop_shadow_slots(weights, torch.zeros(1, 1, 4, 5, dtype=torch.float64), 0.2)
        assert (found.argmax(1) == 0).all()


def links_of(mask: np.ndarray) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield each pixel in the image that is a neighbor of a pixel of a mask, and this pixel."""
    height, width = mask.shape
    for j, i in np.argwhere(mask).tolist():
        for y, x in itertools.product(
            range(max(0, j - 1), min(height, j + 2)), range(max(0, i - 1), min(width, i + 2))
        ):
            if (y, x) != (j, i):
                yield (y, x), (j, i)


class TestMergeDuplicateSlots:
    COLORS = torch.tensor([[0.2, 0.4, 0.6], [0.6, 0.3, 0.1], [0.9, 0.9, 0.9]], dtype=torch.float64)

    @pytest.mark.parametrize(
        ("owners", "colors", "merged"),
        [
            pytest.param("011122", "200000", "011111", id="touching slots of one color"),
            pytest.param("012220", "200002", "022220", id="the slot with the most pixels gets all"),
            pytest.param("011222", "200111", "011222", id="slots of two colors"),
            pytest.param("110220", "002002", "110220", id="slots that do not touch"),
            pytest.param("111222", "001000", "111222", id="an edge between slots of the same median color"),
            pytest.param("111222", "200000", "111111", id="a few pixels of another color"),
            pytest.param("142356", "000000", "111111", id="a duplicate of a duplicate"),
            pytest.param("000000", "000000", "000000", id="slots without pixels"),
            pytest.param("333000", "000000", "333000", id="a slot and the background"),
        ],
    )
    def test_columns(self, owners: str, colors: str, merged: str) -> None:
        """Each digit is the slot or the color of a column of an image of 4x6 pixels."""
        labels = torch.tensor([*map(int, owners)]).expand(1, 4, -1)
        weights = torch.nn.functional.one_hot(labels, 7).permute(0, 3, 1, 2).double()
        images = self.COLORS[[*map(int, colors)]].T.reshape(1, 3, 1, -1).expand(-1, -1, 4, -1)
        affinities = neighbor_affinities(images, 0.1)
        found = merge_duplicate_slots(weights, images, affinities, 0.15)
        torch.testing.assert_close(found.sum(1), torch.ones(1, 4, 6, dtype=torch.float64))
        assert found.argmax(1)[0, 0].tolist() == [*map(int, merged)]
        assert merge_duplicate_slots(weights, images, affinities, 0.0) is weights

    @pytest.mark.parametrize("exponent", [0.0, 0.5])
    def test_equals_a_loop_over_pairs(self, exponent: float) -> None:
        shape, slots = (6, 7), 4
        few = 3 * random(20, slots + 1, *shape)
        weights = torch.nn.functional.interpolate(few, scale_factor=2).softmax(1)
        images = self.COLORS[(random(20, 12, 14, seed=1) < 0.3).long()].permute(0, 3, 1, 2)
        images = (images + 0.04 * random(20, 3, 12, 14, seed=2)).clamp(0, 1)
        found = merge_duplicate_slots(weights, images, neighbor_affinities(images, 0.3), 0.15, exponent)
        merges = 0
        for own, image, result in zip(weights.numpy(), images.numpy(), found.numpy(), strict=True):
            labels = own.argmax(0)
            group = list(range(slots + 1))
            for a, b in itertools.combinations(range(1, slots + 1), 2):
                touching = [
                    np.exp(-np.abs(image[:, j, i] - image[:, y, x]).sum() / 0.3)
                    for j, i in np.argwhere(labels == a)
                    for y, x in np.argwhere(labels == b)
                    if max(abs(j - y), abs(i - x)) == 1
                ]
                if not touching or np.mean(touching) < 0.5:
                    continue
                # The median is the lower of the two middle values if their number is even.
                medians = [np.sort(image[:, labels == k])[:, ((labels == k).sum() - 1) // 2] for k in (a, b)]
                borders = [sum(labels[q] != k for q, _ in links_of(labels == k)) for k in (a, b)]
                common = len(touching) / max(1, min(borders))
                if np.abs(medians[0] - medians[1]).sum() < 0.15 * common**exponent:
                    group = [group[a] if member == group[b] else member for member in group]
                    merges += 1
            expected = np.zeros_like(own)
            for members in {tuple(k for k in range(slots + 1) if group[k] == g) for g in group}:
                owner = max(members, key=lambda k: (labels == k).sum())
                expected[owner] = own[list(members)].sum(0)
            np.testing.assert_allclose(result, expected, atol=1e-12)
        assert merges > 5  # otherwise nothing is tested


class TestSplitParts:
    def weights_of(self, labels: list[list[int]], num_slots: int) -> torch.Tensor:
        """Weights of 0.8 for the owner, the rest shared evenly by the other layers."""
        owners = torch.nn.functional.one_hot(torch.tensor(labels), num_slots + 1).permute(2, 0, 1).float()[None]
        return 0.8 * owners + 0.2 / num_slots * (1 - owners)

    def test_a_part_goes_to_an_unused_slot(self) -> None:
        labels = [[1, 1, 0, 1], [1, 0, 0, 1], [0, 0, 0, 0], [2, 2, 2, 0]]
        found, origins = split_parts(self.weights_of(labels, 3), 2)
        assert found.argmax(1)[0].tolist() == [[1, 1, 0, 3], [1, 0, 0, 3], [0, 0, 0, 0], [2, 2, 2, 0]]
        assert origins.tolist() == [[0, 1, 0]]
        torch.testing.assert_close(found.sum(1), torch.ones(1, 4, 4))

    def test_without_unused_slots_parts_stay(self) -> None:
        labels = [[1, 1, 0, 1], [1, 0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 1]]
        found, origins = split_parts(self.weights_of(labels, 2), 2)
        assert found.argmax(1)[0].tolist() == [[1, 1, 0, 2], [1, 0, 0, 2], [1, 0, 0, 0], [0, 0, 1, 1]]
        assert origins.tolist() == [[0, 0]]

    def test_small_parts_go_to_the_next_layer(self) -> None:
        labels = [[1, 1, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
        found, _ = split_parts(self.weights_of(labels, 3), 3)
        assert found.argmax(1)[0].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]

    def test_corners_touch(self) -> None:
        found, _ = split_parts(self.weights_of([[1, 0, 0], [0, 1, 0], [0, 0, 1]], 2), 1)
        assert found.argmax(1)[0].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]

    def test_nothing_found(self) -> None:
        weights = self.weights_of([[0, 0], [0, 0]], 2)
        found, _ = split_parts(weights, 1)
        assert (found.argmax(1) == 0).all()


class TestDropSpecks:
    def owners(self, labels: list[list[int]], min_pixels: int, second: int = 0) -> list[list[int]]:
        """Drop specks where each pixel's second largest weight is that of one layer."""
        weights = torch.nn.functional.one_hot(torch.tensor(labels), 3).permute(2, 0, 1).float()[None]
        weights[:, [0, second]] += torch.tensor([0.1, 0.5])[:, None, None]
        weights = weights / weights.sum(1, keepdim=True)
        found = drop_specks(weights, min_pixels)
        torch.testing.assert_close(found.sum(1), torch.ones_like(found[:, 0]))
        return found.argmax(1)[0].tolist()

    def test_small_parts_go_to_the_next_layer(self) -> None:
        labels = [[1, 1, 0, 1], [1, 1, 0, 0], [0, 0, 2, 2], [2, 0, 2, 2]]
        assert self.owners(labels, 2) == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 2, 2], [0, 0, 2, 2]]
        assert self.owners(labels, 2, second=2)[0][3] == 2
        assert self.owners(labels, 1) == labels

    def test_the_largest_part_stays(self) -> None:
        labels = [[1, 0, 2, 2], [0, 0, 0, 0], [0, 1, 1, 0]]
        assert self.owners(labels, 9) == [[0, 0, 2, 2], [0, 0, 0, 0], [0, 1, 1, 0]]

    def test_corners_touch(self) -> None:
        labels = [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
        assert self.owners(labels, 2) == labels

    def test_nothing_found(self) -> None:
        assert self.owners([[0, 0]], 3) == [[0, 0]]


def shown(owners: str, slots: int) -> torch.Tensor:
    """Weights of an image with one row, each pixel owned by one layer alone."""
    layers = torch.nn.functional.one_hot(torch.tensor([int(owner) for owner in owners]), slots + 1)
    return layers.T[None, :, None].double()


class TestFillUnusedSlots:
    def test_the_largest_go_to_the_first_unused(self) -> None:
        weights, more = shown("0000022220", slots=3), shown("3332000011", slots=3)
        found, sources = fill_unused_slots(weights, more)
        assert found.argmax(1).flatten().tolist() == [1, 1, 1, 0, 0, 2, 2, 2, 2, 3]
        assert sources.tolist() == [[3 + 2, 1, 3 + 0]]
        torch.testing.assert_close(found.sum(1), torch.ones_like(found.sum(1)))

    def test_no_more_than_there_are(self) -> None:
        weights, more = shown("0110", slots=3), shown("3000", slots=3)
        found, sources = fill_unused_slots(weights, more)
        assert found.argmax(1).flatten().tolist() == [2, 1, 1, 0]
        assert sources.tolist() == [[0, 3 + 2, 2]]

    def test_without_unused_slots_nothing_changes(self) -> None:
        weights, more = shown("01200", slots=2), shown("20001", slots=2)
        found, sources = fill_unused_slots(weights, more)
        assert (found == weights).all()
        assert sources.tolist() == [[0, 1]]

    def test_only_the_backgrounds_share_is_divided(self) -> None:
        weights, more = random(2, 4, 3, 5).softmax(1), random(2, 4, 3, 5, seed=1).softmax(1)
        weights[:, 2:] *= 1e-3
        weights = weights / weights.sum(1, keepdim=True)  # slots 2 and 3 own nothing
        found, sources = fill_unused_slots(weights, more)
        torch.testing.assert_close(found.sum(1), torch.ones_like(found.sum(1)))
        torch.testing.assert_close(found[:, 1], weights[:, 1])
        for index, (slot, place) in itertools.product(range(2), enumerate(sources[0].tolist(), 1)):
            place = int(sources[index, slot - 1])
            if place >= 3:
                added = weights[index, 0] * more[index, 1 + place - 3]
                torch.testing.assert_close(found[index, slot], weights[index, slot] + added)
        assert (sources >= 3).any()


def test_pixels_near_objects() -> None:
    near = pixels_near_objects(shown("0001000020", slots=2))
    assert near.flatten().int().tolist() == [0, 0, 1, 1, 1, 0, 0, 1, 1, 1]
