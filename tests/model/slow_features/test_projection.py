import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from astseg._core.errors import AstSegError
from astseg.model.slow_features import projection
from astseg.model.slow_features.projection import (
    PairDifferences,
    SlowProjection,
    fit_slow_projection,
    project,
    sample_differences,
)


def normal(count: int, *deviations: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, len(deviations), generator=generator) * torch.tensor(deviations)


def test_solves_the_generalized_eigenproblem(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without trimming, against SciPy's solver."""
    monkeypatch.setattr(projection, "KEPT_NEAR", 1.0)
    monkeypatch.setattr(projection, "KEPT_FAR", 1.0)
    near, far, between = (normal(500, 1.0, 3.0, 0.5, seed=seed) for seed in range(3))
    differences = PairDifferences(near, far, between, torch.zeros(3))
    found = fit_slow_projection(differences, 3).matrix.double().numpy()
    scale = np.sqrt((differences.between.double().numpy() ** 2).mean(0) / 2)
    parts = [part.double().numpy() / scale for part in differences[:3]]
    covariance = [part.T @ part / (2 * len(part)) for part in parts]
    within = 0.1 * covariance[0] + 0.9 * covariance[1] + 1e-3 * covariance[2].diagonal().mean() * np.eye(3)
    _, expected = scipy.linalg.eigh(covariance[2], within)
    expected = expected[:, ::-1] / scale[:, None]
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found * signs, expected, rtol=1e-3, atol=1e-4)


def test_images_of_a_single_color_have_no_textures() -> None:
    plain = torch.zeros(50, 4)
    with pytest.raises(AstSegError, match="All images are the same, or there is only one"):
        fit_slow_projection(PairDifferences(plain, plain, plain, plain[0]), 2)


def test_finds_what_is_constant_within_images_and_ignores_objects() -> None:
    """Channel 2 is the ground's own, the others its pattern; a third of the far pairs cross an object's border."""
    far = normal(3000, 4.0, 2.0, 0.5)
    far[:1000, 2] += 30
    differences = PairDifferences(normal(3000, 4.0, 2.0, 0.5, seed=1), far, normal(3000, 4.0, 2.0, 5.0), torch.ones(3))
    found = fit_slow_projection(differences, 1)
    assert found.matrix.shape == (3, 1)
    assert (found.matrix.abs().flatten() * torch.tensor([4.0, 2.0, 5.0])).argmax() == 2
    within = far[1000:] @ found.matrix
    assert within.square().mean() / 2 == pytest.approx(1, abs=0.5), "of the order of 1, whatever the channels' units"


def test_projects_each_cell() -> None:
    responses = torch.randn(2, 5, 3, 4)
    found = project(responses, SlowProjection(torch.ones(5), torch.eye(5)[:, :2]))
    torch.testing.assert_close(found, responses[:, :2] - 1)


def test_pairs_lie_where_they_should() -> None:
    """Of responses that say where a cell lies, differences say how far its partner is."""
    rows, columns = torch.meshgrid(torch.arange(10.0), torch.arange(20.0), indexing="ij")

    def responses_of(batch: slice) -> Tensor:
        images = torch.arange(batch.start, batch.stop, dtype=torch.float32)
        place = torch.stack((rows, columns)).expand(len(images), -1, -1, -1)
        return torch.cat((images.view(-1, 1, 1, 1).expand(-1, 1, 10, 20), place), 1)

    told: list[tuple[int, int]] = []
    found = sample_differences(
        7, 3, (10, 20), responses_of, 0, pairs=2000, batch_size=3, progress=lambda *done: told.append(done)
    )
    assert told == [(3, 7), (6, 7), (7, 7)]
    assert (found.near[:, 0] == 0).all()
    assert (found.far[:, 0] == 0).all()
    assert (found.between[:, 0] != 0).all()
    assert (found.between[:, 1:] == 0).all()
    assert found.near[:, 1:].abs().max() == 2
    assert found.far[:, 2].abs().max() == 12
    assert found.mean.tolist() == pytest.approx([3, 4.5, 9.5], abs=0.5)
