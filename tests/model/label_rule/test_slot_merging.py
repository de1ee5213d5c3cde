import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from tests.tensors import random

from astseg.model.label_rule.mean_field import neighbor_affinities
from astseg.model.label_rule.slot_merging import merge_duplicate_slots


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
