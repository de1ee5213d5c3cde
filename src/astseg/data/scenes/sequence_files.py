"""Write generated sequences as folders of images.

The output folder holds, for each sequence, ``000/images/000000.png`` and ``000/masks/000000.png``: a mask is a gray
image, whose value is 0 for the background, or else the number that an object keeps through the sequence.
"""

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from astseg._core.atomic_io import atomic_folder
from astseg._core.errors import AstSegError
from astseg.data.scenes.moving import render_sequence
from astseg.data.store import Bytes


def write_sequences(
    path: Path | str,
    count: int,
    frames: int = 100,
    seed: int = 0,
    image_size: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Render the first sequences of a seed into a folder, which appears once it is complete.

    Args:
        path: the folder, which must not exist, or be empty.
        count: of the sequences, 1 or more.
        frames: of each, 1 to 1000. A shorter sequence is the beginning of a longer one.
        seed: 0 to 2^64 - 1.
        image_size: height and width in pixels, a multiple of 8 from 32 to 512; None for 64.
        progress: called with the number of images just finished.

    Raises:
        AstSegError: an argument is out of range, or the folder is in use or cannot be written.
    """
    if count < 1:
        raise AstSegError(f"At least one sequence is needed, not {count}.")
    with atomic_folder(Path(path)) as folder:
        for index in range(count):
            scenes = render_sequence(seed, index, frames, image_size)
            _save(folder / f"{index:03d}" / "images", scenes.images)
            _save(folder / f"{index:03d}" / "masks", scenes.masks)
            if progress:
                progress(frames)


def _save(folder: Path, images: Bytes) -> None:
    folder.mkdir(parents=True)
    for frame, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{frame:06d}.png")
