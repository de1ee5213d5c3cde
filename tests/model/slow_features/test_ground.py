import numpy as np
import pytest
import torch
from torch import Tensor

from astseg.model.slow_features.ground import (
    COVARIANCE_FACTOR,
    border,
    bounded,
    far_border,
    fit_ground,
    fit_surfaces,
    ground_residual,
    residual_from_surfaces,
)


def textured(seed: int = 0, *, images: int = 3, directions: int = 4, side: int = 8) -> Tensor:
    """Grounds of unit variance around a mean of each image's own."""
    generator = torch.Generator().manual_seed(seed)
    means = 5 * torch.randn(images, directions, 1, 1, generator=generator, dtype=torch.float64)
    return means + torch.randn(images, directions, side, side, generator=generator, dtype=torch.float64)


def with_objects(features: Tensor, rows: int, distance: float = 100.0) -> Tensor:
    """The same with the upper rows far from the ground."""
    changed = features.clone()
    changed[:, :, :rows] += distance
    return changed


def slow_ground(cells: np.ndarray, rounds: int, kept_share: float, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """The same for one image, cell by cell, by the inverse of the covariance."""
    mean, covariance = np.sort(cells, 0)[(len(cells) - 1) // 2], np.eye(cells.shape[1])
    for _ in range(rounds):
        precision = np.linalg.inv(covariance + ridge * np.eye(cells.shape[1]))
        distances = [(cell - mean) @ precision @ (cell - mean) for cell in cells]
        kept = cells[np.argsort(distances)[: int(len(cells) * kept_share)]]
        mean = kept.mean(0)
        covariance = COVARIANCE_FACTOR * np.mean([np.outer(cell - mean, cell - mean) for cell in kept], 0)
    return mean, covariance + ridge * np.eye(cells.shape[1])


@pytest.mark.parametrize(("rounds", "kept_share", "ridge"), [(1, 0.5, 1.0), (12, 0.5, 1.0), (5, 0.7, 0.1)])
def test_equals_a_slow_reference(rounds: int, kept_share: float, ridge: float) -> None:
    features = with_objects(textured(), 2)
    found = fit_ground(features, rounds=rounds, kept_share=kept_share, ridge=ridge)
    for image, own_mean, whitening in zip(features, *found, strict=True):
        mean, covariance = slow_ground(image.flatten(1).T.numpy(), rounds, kept_share, ridge)
        np.testing.assert_allclose(own_mean, mean)
        np.testing.assert_allclose(whitening @ torch.from_numpy(covariance) @ whitening.T, np.eye(4), atol=1e-9)


def test_nearly_half_of_the_cells_may_be_objects() -> None:
    """The breakdown point: however far the objects are, the ground stays where it was."""
    near, far = (fit_ground(with_objects(textured(), 3, distance)) for distance in (100.0, 1e6))
    torch.testing.assert_close(near.mean, far.mean)
    torch.testing.assert_close(near.whitening, far.whitening)
    distances = ground_residual(with_objects(textured(), 3), near).norm(dim=1)
    assert distances[:, 3:].max() < 6 < distances[:, :3].min()


def test_is_affine_equivariant() -> None:
    """Of features turned, stretched and moved, distances from the ground are the same, where its cells are clear."""
    features = with_objects(textured(side=16), 4)
    generator = torch.Generator().manual_seed(1)
    matrix = torch.diag(torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64))
    turn = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64)).Q
    moved = torch.einsum("ij, bjhw -> bihw", turn @ matrix, features) + 7
    plain, other = (
        ground_residual(x, fit_ground(x, kept_share=0.75, ridge=0.0)).norm(dim=1) for x in (features, moved)
    )
    torch.testing.assert_close(plain, other)


def test_does_not_depend_on_where_a_pattern_begins() -> None:
    features = with_objects(textured(), 2)
    rolled = features.roll((3, 2), (2, 3))
    plain, other = (ground_residual(x, fit_ground(x)) for x in (features, rolled))
    torch.testing.assert_close(plain.roll((3, 2), (2, 3)), other)


def test_a_ground_of_one_color_is_no_division_by_zero() -> None:
    residual = ground_residual(torch.ones(1, 3, 4, 4), fit_ground(torch.ones(1, 3, 4, 4)))
    assert (residual == 0).all()


class TestSurfaces:
    """Images of 16x16 cells: the first has one surface, the others a wall of five rows, and all have an object."""

    @staticmethod
    def images() -> Tensor:
        features = textured(side=16)
        features[1:, :, :5] += torch.tensor([40.0, 0, -40, 0], dtype=torch.float64)[:, None, None]
        features[:, :, 7:10, 6:10] += torch.tensor([0, 30.0, 0, 0], dtype=torch.float64)[:, None, None]
        return features

    def test_another_is_found_where_much_of_the_border_is_far(self) -> None:
        features = self.images()
        largest, others = fit_surfaces(features, 3)
        assert [surface.images.tolist() for surface in others] == [[1, 2]]
        distance = residual_from_surfaces(features, largest, others).norm(dim=1)
        is_object = torch.zeros(16, 16, dtype=torch.bool)
        is_object[7:10, 6:10] = True
        assert distance[:, ~is_object].max() < 6 < distance[:, is_object].min()

    def test_the_distance_is_that_of_the_nearest_and_the_direction_that_of_the_largest(self) -> None:
        features = self.images()
        largest, others = fit_surfaces(features, 2)
        found = residual_from_surfaces(features, largest, others)
        first = ground_residual(features, largest)
        ((_, wall),) = others
        distances = torch.minimum(first[1:].norm(dim=1), ground_residual(features[1:], wall).norm(dim=1))
        torch.testing.assert_close(found.norm(dim=1), torch.cat((first[:1].norm(dim=1), distances)))
        torch.testing.assert_close(torch.cosine_similarity(found, first), torch.ones(3, 16, 16, dtype=torch.float64))

    def test_one_surface_is_the_ground(self) -> None:
        features = self.images()
        largest, others = fit_surfaces(features, 1)
        assert not others
        expected = ground_residual(features, fit_ground(features))
        assert torch.equal(residual_from_surfaces(features, largest, others), expected)

    def test_no_more_than_asked_for(self) -> None:
        features = textured(images=1, side=16)
        features[:, :, 0] += 40
        features[:, :, 1:, 0] -= 40
        assert [len(fit_surfaces(features, most)[1]) for most in (1, 2, 3, 4)] == [0, 1, 2, 2]

    @pytest.mark.parametrize(("size", "width"), [((8, 8), 1), ((32, 48), 2), ((64, 64), 4)])
    def test_the_border_is_as_wide_as_the_grid_is_large(self, size: tuple[int, int], width: int) -> None:
        cells = border(size)
        assert not cells[width:-width, width:-width].any()
        assert cells.sum() == size[0] * size[1] - (size[0] - 2 * width) * (size[1] - 2 * width)
        residual = torch.full((1, 2, *size), 10.0)
        assert torch.equal(far_border(residual)[0], cells)
        assert not far_border(residual / 10).any()


def test_bounded_vectors_keep_their_direction() -> None:
    residual = torch.tensor([3.0, 4.0, 0.0]).view(1, 3, 1, 1)
    assert bounded(residual, 0.0).flatten().tolist() == pytest.approx([0.6, 0.8, 0.0])
    assert bounded(residual, 5 * 3**0.5).norm() == pytest.approx(0.5)
    assert bounded(1e6 * residual, 9.0).norm() == pytest.approx(1.0)
