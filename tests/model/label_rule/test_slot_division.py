import itertools

import numpy as np
import pytest
import torch

from astseg.model.label_rule import slot_division
from astseg.model.label_rule.slot_division import chromaticities, divide_slots, second_of_two_means


class TestDivideSlots:
    def divide(
        self, owners: list[str], looks: list[str], likeness: float = 0.3, exponent: float = 0.0, min_pixels: int = 2
    ) -> tuple[list[str], list[int]]:
        """Divide the slots of an image of one channel, with four slots; looks are letters, 0.4 apart."""
        labels = torch.tensor([[int(one) for one in row] for row in owners])
        weights = 0.6 * torch.nn.functional.one_hot(labels, 5).permute(2, 0, 1).double()[None] + 0.08
        values = (
            0.4 * torch.tensor([[".abc".index(one) for one in row] for row in looks], dtype=torch.float64)[None, None]
        )
        found, origins = divide_slots(weights, values, likeness, exponent, min_pixels)
        torch.testing.assert_close(found.sum(1), torch.ones_like(found[:, 0]))
        return ["".join(map(str, row)) for row in found.argmax(1)[0].tolist()], origins[0].tolist()

    def test_the_smaller_half_goes_to_an_unused_slot(self) -> None:
        owners, looks = ["0111110", "0111110", "0220000"], [".aaabb.", ".aaabb.", ".cc...."]
        assert self.divide(owners, looks) == (["0111330", "0111330", "0220000"], [0, 1, 0, 3])

    def test_halves_that_are_alike_stay(self) -> None:
        owners, looks = ["01111", "01111"], [".aabb", ".aabb"]
        assert self.divide(owners, looks, likeness=0.5) == (owners, [0, 1, 2, 3])

    def test_halves_are_divided_in_turn(self) -> None:
        owners, looks = ["1111111", "1111111"], ["aaaccbb", "aaaccbb"]
        found, origins = self.divide(owners, looks)
        assert found[0] == found[1]
        assert found[0] in ("1112233", "1113322", "2223311", "3332211", "2221133", "3331122")
        assert origins == [0, 0, 0, 3]

    def test_small_halves_stay(self) -> None:
        owners, looks = ["01111", "01111"], [".aaab", ".aaaa"]
        assert self.divide(owners, looks, min_pixels=2)[0] == owners

    def test_a_slot_of_one_look_stays(self) -> None:
        owners = ["0111", "0111"]
        assert self.divide(owners, [".bbb", ".bbb"], likeness=1e-9, min_pixels=0)[0] == owners

    def test_without_unused_slots_all_stay(self) -> None:
        owners, looks = ["111122334", "111122334"], ["aabb.....", "aabb....."]
        assert self.divide(owners, looks) == (owners, [0, 1, 2, 3])

    def test_without_slots_nothing_happens(self) -> None:
        assert self.divide(["000"], ["abc"]) == (["000"], [0, 1, 2, 3])

    def test_a_short_border_in_common_parts_sooner(self) -> None:
        long = ["0000000", "0111110", "0111110", "0000000"], [".......", ".aaabb.", ".aaabb.", "......."]
        short = ["0000000", "0111000", "0111000", "0001110", "0001110", "0000000"]
        looks = [".......", ".aaa...", ".aaa...", "...bbb.", "...bbb.", "......."]
        # The smaller half has 4 of 20 links in common with the other, and 3 of 26 where they touch at a corner.
        assert self.divide(*long, likeness=0.39 * 20 / 4, exponent=1.0)[0][1] == "0111220"
        assert self.divide(*long, likeness=0.41 * 20 / 4, exponent=1.0)[0] == long[0]
        assert self.divide(short, looks, likeness=0.39 * 26 / 3, exponent=1.0)[0][3] == "0002220"
        assert self.divide(short, looks, likeness=0.41 * 26 / 3, exponent=1.0)[0] == short

    def test_which_cluster_is_called_the_second_does_not_matter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        random = np.random.default_rng(0)
        owners = ["".join(row) for row in random.choice(list("01"), (12, 12), p=[0.1, 0.9])]
        looks = ["".join(row) for row in random.choice(list("ab"), (12, 12), p=[0.6, 0.4])]
        found = self.divide(owners, looks)
        monkeypatch.setattr(slot_division, "second_of_two_means", lambda points: ~second_of_two_means(points))
        assert self.divide(owners, looks) == found != (owners, [0, 1, 2, 3])

    def test_sides_in_the_shade_are_no_second_object(self) -> None:
        lit, red, violet = torch.tensor([[0.9, 0.6, 0.3], [0.8, 0.2, 0.1], [0.4, 0.1, 0.6]])
        for first, second, expected in ((lit, 0.5 * lit, 1), (red, violet, 2)):
            image = torch.zeros(1, 3, 4, 8)
            image[..., 1:4], image[..., 4:7] = first[:, None, None], second[:, None, None]
            weights = torch.zeros(1, 4, 4, 8)
            weights[:, 1, :, 1:7] = 1
            weights[:, 0] = 1 - weights[:, 1]
            assert (image[..., 1] - image[..., 4]).abs().sum(1).min() > 0.7  # in color, both are two
            found, _ = divide_slots(weights, chromaticities(image), 0.7, 0.5, 4)
            assert len(set(found.argmax(1).flatten().tolist())) == 1 + expected

    def test_clusters_are_those_of_least_variance(self) -> None:
        generator = torch.Generator().manual_seed(0)
        for _ in range(20):
            points = torch.randn(9, 2, generator=generator, dtype=torch.float64).numpy()
            points[:4] += [4.0, -3.0]
            second = second_of_two_means(points)

            def spread(chosen: np.ndarray, points: np.ndarray = points) -> float:
                return sum(float(((each - each.mean(0)) ** 2).sum()) for each in (points[chosen], points[~chosen]))

            splits = [np.array(bits) for bits in itertools.product([True, False], repeat=9)][1:-1]
            assert spread(second) == pytest.approx(min(map(spread, splits)))
