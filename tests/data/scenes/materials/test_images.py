import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from astseg._core.errors import AstSegError
from astseg.data.scenes.generation import render
from astseg.data.scenes.materials.fields import SIDE
from astseg.data.scenes.materials.images import open_textures
from astseg.data.store import Bytes


def save(path: Path, image: Bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


def plain(*color: int) -> Bytes:
    return np.full((40, 60, 3), color, np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "textures/red.png", plain(200, 30, 30))
    save(tmp_path / "textures/more/green.png", plain(30, 200, 30))
    return tmp_path / "textures"


def test_a_folder_is_read_with_its_subfolders(folder: Path) -> None:
    opened = open_textures(folder)
    assert [image.path.name for image in opened.images] == ["green.png", "red.png"]
    assert (opened.images[1].paint().texels[:, :3] == (200, 30, 30)).all()
    assert opened.identity == {"sha256": opened.digest, "images": 2}


def test_the_digest_is_of_names_and_contents(folder: Path, tmp_path: Path) -> None:
    before = open_textures(folder).digest
    folder.rename(tmp_path / "elsewhere")
    assert open_textures(tmp_path / "elsewhere").digest == before
    (tmp_path / "elsewhere/red.png").rename(tmp_path / "elsewhere/rot.png")
    renamed = open_textures(tmp_path / "elsewhere").digest
    save(tmp_path / "elsewhere/rot.png", plain(200, 30, 31))
    assert len({before, renamed, open_textures(tmp_path / "elsewhere").digest}) == 3


def test_what_cannot_be_a_texture_is_named(folder: Path) -> None:
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    np.save(folder / "stack.npy", np.zeros((2, 8, 8, 3), np.uint8))
    (folder / "license.txt").write_text("free")
    opened = open_textures(folder)
    assert len(opened.images) == 2
    assert [name for name, _ in opened.skipped] == ["broken.jpg", "stack.npy"]
    assert opened.left_out == ("files of other kinds: 1 (.txt)",)


def test_scaling_makes_no_seam(tmp_path: Path) -> None:
    """A periodic image stays as smooth across the border as inside, whether it becomes larger or smaller."""
    for side in (50, 700):
        x = np.arange(side) / side * 2 * np.pi
        wave = 127 + 60 * np.sin(x)[:, None] + 60 * np.cos(2 * x)
        save(tmp_path / f"{side}/wave.png", np.repeat(wave[..., None], 3, -1).astype(np.uint8))
        texels = open_textures(tmp_path / str(side)).images[0].paint().texels
        tile = texels[: SIDE * SIDE, 0].reshape(SIDE, SIDE).astype(int)
        for axis in (0, 1):
            bend = np.abs(np.diff(tile, 2, axis)).max()
            ends = np.take(tile, [-2, -1, 0, 1], axis)
            assert np.abs(np.diff(ends, 2, axis)).max() <= bend


def test_images_become_the_materials_of_scenes(folder: Path) -> None:
    scenes = render("clevrtex-2", 0, range(8), 64, textures=open_textures(folder))
    ground = [image[mask == 0].mean(0) for image, mask in zip(scenes.images, scenes.masks, strict=True)]
    assert {int(color.argmax()) for color in ground} == {0, 1}
    plain_scenes = render("clevrtex-2", 0, range(8), 64)
    np.testing.assert_array_equal(scenes.masks, plain_scenes.masks)
    assert scenes.images[..., 2].mean() < plain_scenes.images[..., 2].mean()


def test_a_file_that_changes_is_refused(folder: Path) -> None:
    opened = open_textures(folder)
    save(folder / "red.png", plain(0, 0, 0))
    with pytest.raises(AstSegError, match=r"red\.png has changed"):
        opened.images[1].paint()


@pytest.mark.parametrize("name", ["rooms", "clevr", "clevrtex", "ood", "camo"])
def test_other_sets_take_none(folder: Path, name: str) -> None:
    with pytest.raises(AstSegError, match=f"clevrtex-2, ood-2, camo-2, but not of {name}"):
        render(name, 0, [0], textures=open_textures(folder))


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AstSegError, match="is not a folder"):
        open_textures(tmp_path / "nowhere")
    with pytest.raises(AstSegError, match="holds no images"):
        open_textures(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(AstSegError, match=r"no readable images.*broken\.jpg"):
        open_textures(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read_are_skipped(folder: Path) -> None:
    (folder / "red.png").chmod(0)
    assert [name for name, _ in open_textures(folder).skipped] == ["red.png"]
