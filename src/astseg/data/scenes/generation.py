"""Render images, given a data set, a seed and indices."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import torch

from astseg._core.errors import AstSegError
from astseg.data.scenes.culling import TILE_SIDE
from astseg.data.scenes.description import Scene
from astseg.data.scenes.materials.images import TextureFolder
from astseg.data.scenes.random_source import RandomSource
from astseg.data.scenes.rendering import RenderedScenes, shade_scenes, trace_scenes
from astseg.data.scenes.scene_sets import SceneSet, get_scene_set
from astseg.data.store import Bytes

MIN_SIDE, MAX_SIDE = 32, 512
"""Smallest and largest side of an image in pixels."""

MAX_SAMPLES_PER_BATCH = 2**16
"""Samples rendered together on a CPU: few enough for its caches."""

MAX_SAMPLES_PER_BATCH_CUDA = 2**22

MIN_VISIBLE = 12 / 64**2
"""Minimum share of the image that each labeled object covers."""

INDICES_PER_SPLIT = 2**32
"""Length of each split's own range of indices."""


@dataclass(frozen=True)
class Scenes:
    """Generated images and their ground truth."""

    images: Bytes
    """N x H x W x 3, RGB."""
    masks: Bytes
    """N x H x W: 0 is the background, 1 to n are the objects, all visible."""
    shadows: Bytes
    """N x H x W: 1 where an object hides at least half of the lamp."""


def render(
    name: str,
    seed: int,
    indices: Sequence[int],
    image_size: int | None = None,
    device: torch.device | str = "cpu",
    textures: TextureFolder | None = None,
) -> Scenes:
    """Render the images of a data set with the given indices.

    An image depends only on the name, the data set's version, the seed, the index, the image size and the textures.
    On a CPU it is the same to the bit whatever is rendered with it, on any number of threads. CUDA may differ in single
    bits.

    Args:
        name: one of SCENES, or the data set that it resembles.
        seed: 0 to 2^64 - 1.
        indices: each 0 to 2^64 - 1.
        image_size: height and width in pixels, a multiple of 8 from 32 to 512; None for the data set's own.
        device: the device to render on.
        textures: the user's images to take as materials; None for the data set's own.

    Raises:
        AstSegError: no such data set, seed, index or image size, or the data set takes no textures.
    """
    chosen = get_scene_set(name)
    if textures is not None:
        chosen = chosen.dressed_in(textures.images)
    size = checked_size(chosen, image_size)
    check_seed_and_indices(seed, indices)
    device = checked_device(device)
    most = MAX_SAMPLES_PER_BATCH if device.type == "cpu" else MAX_SAMPLES_PER_BATCH_CUDA
    together = max(1, most // (4 * size * size))
    scenes = Scenes(
        np.empty((len(indices), size, size, 3), np.uint8),
        np.empty((len(indices), size, size), np.uint8),
        np.empty((len(indices), size, size), np.uint8),
    )
    with one_thread():
        for start in range(0, len(indices), together):
            part = slice(start, start + together)
            rendered = _render_together(chosen, seed, indices[part], size, device)
            scenes.images[part] = rendered.images.cpu().numpy()
            scenes.masks[part] = rendered.masks.cpu().numpy()
            scenes.shadows[part] = rendered.shadows.cpu().numpy()
    return scenes


@contextmanager
def one_thread() -> Iterator[None]:
    """Use a single thread: more threads gain little for many small operations, as they wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def split_indices(split: str, count: int) -> range:
    """Return the indices of a split's images; each name has 2^32 of its own."""
    first = int.from_bytes(sha256(split.encode()).digest()[:4], "little") * INDICES_PER_SPLIT
    return range(first, first + count)


def _render_together(
    chosen: SceneSet, seed: int, indices: Sequence[int], size: int, device: torch.device
) -> RenderedScenes:
    """Render a few scenes at once, after resampling those in which an object is hidden."""
    attempts = [0] * len(indices)
    scenes = [_sample_scene(chosen, seed, index, 0) for index in indices]
    visible = trace_scenes(scenes, size, device)
    rejected = _with_hidden_objects(scenes, visible.masks.cpu().numpy())
    resampled = bool(rejected)
    while rejected:
        for place in rejected:
            attempts[place] += 1
            scenes[place] = _sample_scene(chosen, seed, indices[place], attempts[place])
        again = [scenes[place] for place in rejected]
        masks = trace_scenes(again, size, device).masks.cpu().numpy()
        rejected = [rejected[place] for place in _with_hidden_objects(again, masks)]
    return shade_scenes(trace_scenes(scenes, size, device) if resampled else visible)


def _sample_scene(chosen: SceneSet, seed: int, index: int, attempt: int) -> Scene:
    return chosen.compose(RandomSource(chosen.name, chosen.version, seed, index, attempt))


def _with_hidden_objects(scenes: Sequence[Scene], masks: npt.NDArray[np.uint8]) -> list[int]:
    """Return the positions of scenes in which an object shows too few pixels."""
    least = MIN_VISIBLE * masks[0].size
    return [
        place
        for place, (scene, mask) in enumerate(zip(scenes, masks, strict=True))
        if min(np.bincount(mask.ravel(), minlength=len(scene.bodies) + 1)[1:]) < least
    ]


def checked_size(chosen: SceneSet, image_size: int | None) -> int:
    """Return the side of a data set's images in pixels; see `checked_side`."""
    return checked_side(chosen.image_size if image_size is None else image_size)


def checked_side(side: int) -> int:
    """Return the side of the images in pixels.

    Raises:
        AstSegError: images of this size cannot be rendered.
    """
    if side % TILE_SIDE or not MIN_SIDE <= side <= MAX_SIDE:
        raise AstSegError(f"An image side must be a multiple of {TILE_SIDE} from {MIN_SIDE} to {MAX_SIDE}, not {side}.")
    return side


def checked_device(device: torch.device | str) -> torch.device:
    """Return the device to render on.

    Raises:
        AstSegError: the device does not exist or is not supported.
    """
    try:
        checked = torch.device(device)
    except RuntimeError as error:
        raise AstSegError(f"'{device}' is not a device. Use 'cpu' or 'cuda'.") from error
    if checked.type not in ("cpu", "cuda") or (checked.type == "cuda" and not torch.cuda.is_available()):
        raise AstSegError(f"Images cannot be generated on '{device}' here. Use 'cpu'.")
    return checked


def check_seed_and_indices(seed: int, indices: Sequence[int]) -> None:
    """Check that the random source accepts these numbers.

    Raises:
        AstSegError: one of them is out of range.
    """
    for value in (seed, *indices):
        if not 0 <= value < 2**64:
            raise AstSegError(f"Seeds and indices must be from 0 to 2^64 - 1, not {value}.")
