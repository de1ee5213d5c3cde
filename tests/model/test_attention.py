import numpy as np
import pytest
import torch
from torch import Tensor

from astseg.model.attention import (
    CornerConvention,
    ObjectQueries,
    cell_coordinates,
    evidence_by_colors,
    gather_queries,
    soft_argmax,
    spatial_softmax,
)

MAP = (5, 7)


def random_logits(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def paper_queries(logits: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equations 11 to 16 as the paper writes them, sum by sum, with indices from 1."""
    batch, num_slots, height, width = logits.shape
    positions, pooled = np.zeros((batch, num_slots, 2)), np.zeros((batch, num_slots, features.shape[1]))
    for n in range(batch):
        for k in range(num_slots):
            total = sum(np.exp(logits[n, k, j, i]) for j in range(height) for i in range(width))
            for j in range(1, height + 1):
                for i in range(1, width + 1):
                    weight = np.exp(logits[n, k, j - 1, i - 1]) / total
                    positions[n, k, 0] += weight * (2 * (i - 1) / (width - 1) - 1)
                    positions[n, k, 1] += weight * (2 * (j - 1) / (height - 1) - 1)
                    pooled[n, k] += weight * features[n, :, j - 1, i - 1]
    return positions, pooled


class TestSpatialSoftmax:
    def test_sums_to_one_even_for_extreme_logits(self) -> None:
        logits = 1e4 * random_logits(2, 3, *MAP).float()
        attention = spatial_softmax(logits)
        assert (attention >= 0).all()
        torch.testing.assert_close(attention.sum((-2, -1)), torch.ones(2, 3))

    def test_a_constant_added_to_a_map_changes_nothing(self) -> None:
        logits = random_logits(*MAP)
        torch.testing.assert_close(spatial_softmax(logits + 1000), spatial_softmax(logits))


class TestCellCoordinates:
    @pytest.mark.parametrize("cells", [2, 3, 16, 25])
    def test_published_are_equation_12(self, cells: int) -> None:
        expected = [2 * (i - 1) / (cells - 1) - 1 for i in range(1, cells + 1)]
        assert cell_coordinates(cells).tolist() == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("cells", [1, 2, 3, 16])
    def test_consistent_are_centers_of_equal_parts(self, cells: int) -> None:
        expected = [(2 * i + 1) / cells - 1 for i in range(cells)]
        assert cell_coordinates(cells, "consistent").tolist() == pytest.approx(expected, abs=1e-6)

    def test_a_single_cell_lies_in_the_middle(self) -> None:
        like = torch.zeros((), dtype=torch.float64)
        assert cell_coordinates(1, like=like).tolist() == [0]
        assert cell_coordinates(1, like=like).dtype == torch.float64


class TestSoftArgmax:
    @pytest.mark.parametrize(("convention", "step"), [("published", 2 / 6), ("consistent", 2 / 7)])
    def test_moving_the_logits_moves_it_as_far(self, convention: CornerConvention, step: float) -> None:
        # The rest of the map has no weight, so nothing is lost at the border.
        logits = torch.full((5, 7), -1e4, dtype=torch.float64)
        logits[0:2, 1:4] = random_logits(2, 3)
        before = soft_argmax(spatial_softmax(logits), convention)
        after = soft_argmax(spatial_softmax(logits.roll((3, 2), (0, 1))), convention)
        down = 2 / (4 if convention == "published" else 5)
        torch.testing.assert_close(after - before, torch.tensor([2 * step, 3 * down], dtype=torch.float64))

    def test_is_affine(self) -> None:
        first, second = spatial_softmax(random_logits(2, *MAP))
        mixed = soft_argmax(1.7 * first - 0.7 * second)
        torch.testing.assert_close(mixed, 1.7 * soft_argmax(first) - 0.7 * soft_argmax(second))

    def test_proposition_2_1(self) -> None:
        """The value of an affine and equivariant operator follows from its value at the delta alone."""
        attention = spatial_softmax(random_logits(*MAP))
        value_at_delta = np.array([0.3, -2.0])
        # Equations 6 and 7: the map is a mixture of moved deltas, and moving the delta by q moves the value by q.
        moved_deltas = [(float(attention[j, i]), value_at_delta + np.array((i, j))) for j in range(5) for i in range(7)]
        x, y = soft_argmax(attention).tolist()
        center_in_cells = np.array([(x + 1) / 2 * 6, (y + 1) / 2 * 4])
        np.testing.assert_allclose(sum(w * value for w, value in moved_deltas), value_at_delta + center_in_cells)


class TestGatherQueries:
    def test_equals_the_papers_sums(self) -> None:
        logits, features = random_logits(2, 3, *MAP), random_logits(2, 4, *MAP, seed=1)
        queries = gather_queries(spatial_softmax(logits), features)
        positions, pooled = paper_queries(logits.numpy(), features.numpy())
        np.testing.assert_allclose(queries.positions, positions)
        np.testing.assert_allclose(queries.features, pooled)

    @pytest.mark.parametrize("convention", ["published", "consistent"])
    def test_gradients(self, convention: CornerConvention) -> None:
        logits = random_logits(1, 2, 3, 4).requires_grad_()
        features = random_logits(1, 3, 3, 4, seed=1).requires_grad_()

        def gather(logits: Tensor, features: Tensor) -> ObjectQueries:
            return gather_queries(spatial_softmax(logits), features, convention)

        assert torch.autograd.gradcheck(gather, (logits, features))


class TestEvidenceByColors:
    def test_is_the_mean_over_a_cell(self) -> None:
        images, backgrounds = (torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(n)) for n in (0, 1))
        found = evidence_by_colors(images, backgrounds, (2, 3))
        assert found.shape == (2, 1, 2, 3)
        cell = [
            np.tanh(float((images[1, :, j, i] - backgrounds[1, :, j, i]).abs().mean()) / 0.25)
            for j in range(4, 8)
            for i in range(4)
        ]
        assert found[1, 0, 1, 0].item() == pytest.approx(np.mean(cell), abs=1e-6)

    def test_lies_between_zero_and_one(self) -> None:
        images = torch.rand(1, 3, 9, 9)
        assert (evidence_by_colors(images, images, (3, 3)) == 0).all()
        farthest = evidence_by_colors(torch.zeros_like(images), torch.ones_like(images), (3, 3))
        assert (farthest > 0.99).all()
        assert (farthest <= 1).all()

    def test_has_no_gradient_for_the_background(self) -> None:
        backgrounds = torch.rand(1, 3, 4, 4, requires_grad=True)
        assert not evidence_by_colors(torch.rand(1, 3, 4, 4), backgrounds, (2, 2)).requires_grad
