"""The user's own images as materials."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from astseg._core.errors import AstSegError
from astseg._core.image_files import read_image
from astseg.data.arrays import is_array_file
from astseg.data.folders import find_files
from astseg.data.scenes.materials.fields import SIDE
from astseg.data.scenes.materials.tiles import Tile, painted, tile_of
from astseg.data.store import Bytes, file_sha256

SPECULAR, GLOSS = 0.06, 3
"""Highlights of all materials that are images."""

WRAPPED = 2
"""Source pixels repeated around an image for each of the tile's, so that scaling it makes no seam."""


@dataclass(frozen=True)
class TextureImage:
    """A material that is an image file."""

    path: Path
    sha256: str
    """The file's digest when it was opened."""
    specular: float = SPECULAR
    gloss: int = GLOSS

    def paint(self) -> Tile:
        """Return the image as a tile, scaled to a square; the surface is level.

        Raises:
            AstSegError: the file cannot be read, or is no longer what it was.
        """
        image = read_image(self.path)
        if file_sha256(self.path) != self.sha256:
            raise AstSegError(f"{self.path} has changed since it was opened. Leave the textures as they are meanwhile.")
        return tile_of(_scaled(image) / 255)


@dataclass(frozen=True)
class TextureFolder:
    """The images of a folder, to be materials."""

    images: tuple[TextureImage, ...]
    """In natural order of their names."""
    digest: str
    """Of the images' names in the folder, and of their files."""
    skipped: tuple[tuple[str, str], ...] = ()
    """Names of files that cannot be read, each with the reason."""
    left_out: tuple[str, ...] = ()
    """Descriptions of everything else in the folder."""

    @property
    def identity(self) -> dict[str, Any]:
        """What the manifest of a store says of its textures."""
        return {"sha256": self.digest, "images": len(self.images)}

    @property
    def description(self) -> str:
        """The same in words."""
        return f"textures {self.digest[:12]} of {len(self.images)} images"


def open_textures(folder: Path | str) -> TextureFolder:
    """Read all images in a folder and its subfolders as materials.

    Maps and masks beside images are left out, as wherever a folder of images is read, and so are arrays.

    Raises:
        AstSegError: there is no such folder, or it holds no readable images.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise AstSegError(f"Textures are read from a folder of images, but {folder} is not a folder.")
    found = find_files(folder)
    arrays = [file for file in found.files if is_array_file(file)]
    images: list[TextureImage] = []
    skipped: list[tuple[str, str]] = []
    for file in found.files:
        name = file.relative_to(folder).as_posix()
        if file in arrays:
            skipped.append((name, "arrays cannot be textures."))
            continue
        try:
            image = TextureImage(file, file_sha256(file))
            painted(image)
        except (AstSegError, OSError) as error:
            skipped.append((name, str(error)))
        else:
            images.append(image)
    if not images:
        raise AstSegError(f"{folder} holds no readable images, which textures are made of. {skipped[0][1]}")
    return TextureFolder(tuple(images), _digest(folder, images), tuple(skipped), found.left_out)


def _digest(folder: Path, images: list[TextureImage]) -> str:
    def lines() -> Iterator[str]:
        for image in images:
            yield f"{image.sha256}  {image.path.relative_to(folder).as_posix()}\n"

    return hashlib.sha256("".join(lines()).encode()).hexdigest()


def _scaled(image: Bytes) -> Bytes:
    """Scale an image to a tile's side, as if it repeated in all directions."""
    height, width = image.shape[:2]
    around = [max(1, -(-side * WRAPPED // SIDE)) for side in (height, width)]
    wrapped = np.pad(image, [(around[0],) * 2, (around[1],) * 2, (0, 0)], mode="wrap")
    box = (around[1], around[0], around[1] + width, around[0] + height)
    return np.asarray(Image.fromarray(wrapped).resize((SIDE, SIDE), Image.Resampling.BILINEAR, box))
