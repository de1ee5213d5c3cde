import hashlib

import numpy as np
import pytest

from astseg.data.scenes.materials.catalogue import (
    TRAINING_MATERIALS,
    UNSEEN_KINDS,
    UNSEEN_MATERIALS,
    CatalogueMaterial,
)
from astseg.data.scenes.materials.fields import SIDE
from astseg.data.scenes.materials.patterns import Kind
from astseg.data.scenes.materials.tiles import painted

ALL = TRAINING_MATERIALS + UNSEEN_MATERIALS

# What the materials look like. A change here changes every image of clevrtex-2, ood-2 and camo-2: raise their versions.
GOLDEN = "20f92e587c0ca6ccce66c66ef27eade01de8ecca714ea0c72cd548a19e289bfb"


def finest(material: CatalogueMaterial) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return painted(material).texels[: SIDE * SIDE, :3].reshape(SIDE, SIDE, 3) / 255


def test_materials_never_change() -> None:
    digest = hashlib.sha256()
    for material in ALL:
        digest.update(painted(material).texels.tobytes())
    assert digest.hexdigest() == GOLDEN


def test_sixty_are_for_training_and_twenty_five_are_not() -> None:
    assert (len(TRAINING_MATERIALS), len(UNSEEN_MATERIALS)) == (60, 25)
    assert len({material.name for material in ALL}) == len({material.seed for material in ALL}) == 85
    known, unseen = ({material.kind for material in some} for some in (TRAINING_MATERIALS, UNSEEN_MATERIALS))
    assert known == set(Kind) - set(UNSEEN_KINDS)
    assert set(UNSEEN_KINDS) <= unseen


def test_no_two_look_the_same() -> None:
    tiles = np.stack([finest(material)[::4, ::4] for material in ALL]).reshape(len(ALL), -1)
    nearest = [np.abs(np.delete(tiles, i, 0) - tile).mean(1).min() for i, tile in enumerate(tiles)]
    assert min(nearest) > 0.03


@pytest.mark.parametrize("material", ALL, ids=lambda material: material.name)
def test_colors_are_natural(material: CatalogueMaterial) -> None:
    """Neither black nor white, no pure hue, few extremes."""
    colors = finest(material)
    luminance = colors @ [0.3, 0.59, 0.11]
    assert 0.15 < luminance.mean() < 0.8
    assert 0.01 < luminance.std() < 0.22
    mean = colors.mean((0, 1))
    assert mean.max() - mean.min() < 0.4


@pytest.mark.parametrize("material", ALL, ids=lambda material: material.name)
def test_tiles_repeat_without_a_seam(material: CatalogueMaterial) -> None:
    """Texels differ across the border no more than between some neighbors inside."""
    colors = finest(material)
    for axis in (0, 1):
        steps = np.abs(colors - np.roll(colors, 1, axis)).mean((1 - axis, 2))
        assert steps[0] <= 1.25 * np.sort(steps[1:])[-3]
