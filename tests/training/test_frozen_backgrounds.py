from pathlib import Path

import numpy as np
import pytest
import torch

from astseg.data.store import Bytes
from astseg.model.ast_seg import AstSeg
from astseg.training.batches import TrainingImages
from astseg.training.config import Recipe
from astseg.training.frozen_backgrounds import frozen_backgrounds, paint_backgrounds

CPU = torch.device("cpu")


@pytest.fixture
def model(tiny_recipe: Recipe) -> AstSeg:
    torch.manual_seed(0)
    return AstSeg(tiny_recipe.architecture).train()


def test_are_the_network_s_as_bytes(model: AstSeg, tiny_images: Bytes, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    paint_backgrounds(model, TrainingImages(tiny_images, CPU), tmp_path / "backgrounds.npy", batch_size=5)
    found = np.load(tmp_path / "backgrounds.npy")
    assert found.dtype == np.uint8
    assert found.shape == tiny_images.shape
    images = torch.from_numpy(tiny_images.transpose(0, 3, 1, 2) / np.float32(255))
    assert model.background is not None
    with torch.no_grad():
        expected = 255 * model.background.eval()(images).image.permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found, expected, atol=0.501)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("there", "paint"), [(False, False), (False, True), (True, True), (True, False)])
def test_are_painted_if_asked_or_missing(
    model: AstSeg, tiny_images: Bytes, tmp_path: Path, there: bool, paint: bool
) -> None:
    if there:
        np.save(tmp_path / "backgrounds.npy", np.full_like(tiny_images, 7))
    found = frozen_backgrounds(model, TrainingImages(tiny_images, CPU), tmp_path, paint=paint)
    assert len(found) == len(tiny_images)
    assert (found.stored == 7).all() == (there and not paint)


@pytest.mark.parametrize("shape", ["(-2, 9)", "(", f"({10**30},)", "(True,)"])
def test_are_painted_again_where_the_header_of_their_file_is_damaged(
    model: AstSeg, tiny_images: Bytes, tmp_path: Path, shape: str
) -> None:
    images, told = TrainingImages(tiny_images, CPU), list[str]()
    before = np.array(frozen_backgrounds(model, images, tmp_path, paint=True).stored)
    path = tmp_path / "backgrounds.npy"
    content = path.read_bytes()
    end = content.index(b"\n")
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}".encode()
    path.write_bytes(content[:10] + header.ljust(end - 10) + content[end:])
    found = frozen_backgrounds(model, images, tmp_path, paint=False, note=told.append)
    np.testing.assert_array_equal(found.stored, before)
    assert told == [f"{path} is damaged; the backgrounds are painted again."]
