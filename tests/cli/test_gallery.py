import errno
import os
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from tests.cli.conftest import Program

from astseg.data.store import Bytes, Store
from astseg.data.store_writer import StoreWriter
from astseg.model.ast_seg import AstSeg
from astseg.training.small_recipes import cpu_recipe
from astseg.visualization import gallery


def read_pixels(path: Path) -> Bytes:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    AstSeg(cpu_recipe((32, 32), 2).architecture).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_pairs(astseg: Program, model: Path, tiny_store: Store, tmp_path: Path) -> None:
    out = tmp_path / "pairs.png"
    assert astseg("gallery", model, tiny_store.path, "--split", "train", "--count", 5, "--out", out) == 0
    grid = read_pixels(out)
    assert grid.shape == (8 + 2 * 168, 8 + 4 * 328, 3)  # five pairs, four in a row, each side 160
    for index, top in ((0, 8), (4, 176)):
        image = np.asarray(tiny_store["train"].images[index]).repeat(5, 0).repeat(5, 1)
        np.testing.assert_array_equal(grid[top : top + 160, 8:168], image)


def test_whole_rows_of_all_images(astseg: Program, model: Path, tiny_store: Store, tmp_path: Path) -> None:
    out = tmp_path / "rows.png"
    assert astseg("gallery", model, tiny_store.path, "--slots", "--out", out) == 0
    # Input, truth, reconstruction, segmentation, background and two slots; the split has four images.
    assert read_pixels(out).shape == (30 + 4 * 168, 8 + 7 * 168, 3)
    assert "4 images" in astseg.out


def test_more_than_a_batch(astseg: Program, model: Path, tiny_images: Bytes, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "more", (32, 32), "squares", "none") as writer, writer.split("test") as split:
        split.append(np.concatenate([tiny_images] * 2))  # without masks
    assert astseg("gallery", model, tmp_path / "more", "--count", 21, "--out", tmp_path / "g.png") == 0
    assert read_pixels(tmp_path / "g.png").shape == (8 + 6 * 168, 8 + 4 * 328, 3)


def test_mistakes(astseg: Program, model: Path, tiny_store: Store, tmp_path: Path) -> None:
    data = tiny_store.path
    assert ".png or the like, not 'image'" in astseg.mistake("gallery", model, data, "--out", tmp_path / "image")
    with pytest.MonkeyPatch.context() as patch:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        patch.setattr(Image.Image, "save", Mock(side_effect=full))
        message = astseg.mistake("gallery", model, data, "--out", tmp_path / "full.png")
        assert message.endswith("full.png: No space left on device.")
    huge = Image.new("P", (16_500, 4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "draw_pairs", lambda *_: huge)
        assert "4 x 16500 pixels cannot be written as" in astseg.mistake(
            "gallery", model, data, "--out", tmp_path / "g.webp"
        )
    assert not (tmp_path / "g.webp").exists()
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"a photo")
    assert "photo.png exists already" in astseg.mistake("gallery", model, data, "--out", photo)
    assert photo.read_bytes() == b"a photo"
    assert "no split 'more'" in astseg.mistake("gallery", model, data, "--split", "more")
    assert "holds no model" in astseg.mistake("gallery", data, data, "--out", tmp_path / "g.png")
