from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
import torch
from tests.data.scenes.scene_builders import PARAMETERS, solid_level

from astseg.data.scenes.description import Shape
from astseg.data.scenes.shapes import MISS, TORUS_TOLERANCE, entry_distance, outward_vectors

Floats: TypeAlias = npt.NDArray[np.float64]

STEPS = 6000
REACH = 8.0


def random_rays(count: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Rays that start outside of all solids and mostly pass near the origin; lengths of the directions vary."""
    generator = np.random.default_rng(seed)
    start = generator.normal(size=(3, count))
    start *= 3.5 / np.linalg.norm(start, axis=0)
    direction = generator.uniform(-1.2, 1.2, (3, count)) - start
    direction *= generator.uniform(0.5, 2, count) / np.linalg.norm(direction, axis=0)
    return start, direction


@pytest.mark.parametrize("shape", Shape)
def test_entry_agrees_with_walking_along_the_rays(shape: Shape) -> None:
    start, direction = random_rays(600)
    parameter = PARAMETERS[shape]
    speed = np.linalg.norm(direction, axis=0)
    t = entry_distance(
        shape, torch.from_numpy(start), torch.from_numpy(direction), torch.full((600,), parameter, dtype=torch.float64)
    ).numpy()
    walk = np.linspace(0, REACH, STEPS)[:, None] / speed
    levels = solid_level(shape, start[:, None] + walk * direction[:, None], parameter)
    deepest = levels.min(0)
    hit = t < MISS
    assert hit[deepest < -0.02].all()
    assert not hit[deepest > 2 * TORUS_TOLERANCE].any()
    assert 100 < hit.sum() < 580
    clear = hit & (deepest < -0.02)
    first_inside = walk[(levels < 0).argmax(0), np.arange(600)]
    np.testing.assert_allclose((t * speed)[clear], (first_inside * speed)[clear], atol=0.03)


@pytest.mark.parametrize("shape", Shape)
def test_rays_that_start_behind_or_run_along_an_axis(shape: Shape) -> None:
    parameter = torch.tensor([PARAMETERS[shape]] * 3)
    start = torch.tensor([[0.0, 0.0, 0.75], [0.0, 0.0, 0.1], [5.0, -5.0, 5.0]])
    direction = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, -1.0]])
    away, below, beside = entry_distance(shape, start, direction, parameter).tolist()
    assert away == MISS
    through_the_hole = shape is Shape.TORUS
    top = {Shape.CAPSULE: 1.8}.get(shape, 1.0)
    assert below == (MISS if through_the_hole else pytest.approx(5 - top, abs=1e-5))
    assert 4 - 1e-5 - 0.8 < beside < 6


@pytest.mark.parametrize("shape", Shape)
def test_outward_is_the_gradient_of_the_level(shape: Shape) -> None:
    start, direction = random_rays(800, seed=1)
    parameter = torch.full((800,), PARAMETERS[shape], dtype=torch.float64)
    t = entry_distance(shape, torch.from_numpy(start), torch.from_numpy(direction), parameter)
    hit = t < MISS
    point = torch.from_numpy(start)[:, hit] + t[hit] * torch.from_numpy(direction)[:, hit]
    out = outward_vectors(shape, point, parameter[hit]).numpy()
    out /= np.linalg.norm(out, axis=0)

    def slopes(step: float) -> Floats:
        moved = [point.numpy() + step * axis[:, None] for axis in np.eye(3)]
        here = solid_level(shape, point.numpy(), PARAMETERS[shape])
        return np.stack([(solid_level(shape, place, PARAMETERS[shape]) - here) / step for place in moved])

    ahead, behind = slopes(1e-3), slopes(-1e-3)
    smooth = np.abs(ahead - behind).max(0) < 0.02  # not on an edge
    assert smooth.mean() > 0.9
    expected = ahead[:, smooth] / np.linalg.norm(ahead[:, smooth], axis=0)
    assert (out[:, smooth] * expected).sum(0) == pytest.approx(1, abs=2e-3)


def test_one_origin_serves_many_rays() -> None:
    _, direction = random_rays(50)
    origin = torch.tensor([[0.0], [0.0], [4.0]])
    many = torch.from_numpy(direction).float()[:, None] * torch.tensor([1.0, 1.0, 2.0])[:, None, None]
    for shape in Shape:
        parameter = torch.tensor([[PARAMETERS[shape]]])
        together = entry_distance(shape, origin[..., None], many, parameter)
        single = entry_distance(shape, origin.expand(3, 50), many[:, 0], parameter[0].expand(50))
        assert torch.equal(together[0], single)
