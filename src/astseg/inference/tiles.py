"""Segmentation of large images by tiles: what is too small for the model in the whole image fills more of a tile."""

import math
from itertools import islice, pairwise, product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from astseg._core.errors import AstSegError
from astseg.data.opening import StoreSource
from astseg.data.sources import Source
from astseg.data.store import MAX_LABELS
from astseg.data.video_source import VideoSource
from astseg.inference.segmenting import MAX_BATCH_PIXELS, Segmenter
from astseg.model.segmentation import Segmentation

Numbers = npt.NDArray[np.int64]
OVERLAP = 0.25
"""The share of its height and width that a tile has in common with the next."""
MIN_SIDE = 16
"""In pixels: the model sees next to nothing in smaller tiles, of which there would be hundreds."""
MAX_BATCH_TILES = 16
"""The model enlarges small tiles to its own size, so that their pixels do not tell the memory they take."""
MIN_SHARED = 0.5
"""Objects of two tiles are one if they share this much of what the smaller of them has where the tiles overlap."""
OF_OBJECTS = ("positions", "scales", "activations", "appearances")
"""The fields of a segmentation that have a value for each object."""


class Stretch(NamedTuple):
    """The rows, or the columns, of a tile."""

    start: int
    stop: int
    core_start: int
    """The pixels from here on are labeled by this tile, those before by the one before."""
    core_stop: int


class ImageTile(NamedTuple):
    """A tile of an image."""

    rows: Stretch
    columns: Stretch


class TiledSegmenter:
    """Segments each image in overlapping tiles, and joins the objects that go on in the next tile.

    Where tiles overlap, each labels the half that is nearer to its own center. Objects of two tiles are one if each is
    the one that the other shares most pixels with in the overlap, and these are at least half of the smaller's.

    Args:
        model: what segments the tiles.
        rows: the number of tiles from top to bottom.
        columns: the number of tiles from left to right.
        may_begin_small: whether the first image is cut into fewer tiles too if it is too small for so many, as all
            others are; for images of several sizes, see `check_sizes`.

    Raises:
        ValueError: there are no tiles.
    """

    num_slots = None

    def __init__(self, model: Segmenter, rows: int, columns: int, *, may_begin_small: bool = False) -> None:
        if rows < 1 or columns < 1:
            raise ValueError(f"expected at least one row and one column of tiles, not {rows} x {columns}")
        self.model = model
        self.rows = rows
        self.columns = columns
        self._checked = may_begin_small
        """Whether the first image was large enough, or need not be."""

    def segment(self, images: Float[Tensor, "batch 3 height width"]) -> Segmentation:
        """Find the objects in images in [0, 1].

        Returns:
            The objects of each image, 1, 2, ..., in the order of the tiles, at most 255: the largest. The tile with
            most of an object's pixels tells its position, scale, activation and appearance. Images with fewer objects
            than others have zeros after them.

        Raises:
            AstSegError: tiles of the first image would have a side below 16 pixels, and it may not be small. Those
                that come later are cut into fewer tiles.
        """
        if not self._checked:
            check_tiles(self.rows, self.columns, *images.shape[2:])
            self._checked = True
        found = [self._segment_one(image) for image in images]
        padded = (pad_sequence([getattr(one, name) for one in found], batch_first=True) for name in OF_OBJECTS)
        return Segmentation(torch.stack([one.labels for one in found]), *padded)

    def _segment_one(self, image: Float[Tensor, "3 height width"]) -> Segmentation:
        height, width = image.shape[1:]
        tiles = cut_tiles(height, width, self.rows, self.columns)
        found = self._segment_tiles(image, tiles)
        labels = _number_slots(found)
        objects = join_tiles(labels, tiles, len(tiles) * len(found[0].activations))
        owners = _owners_of_pixels(labels, tiles, height, width)
        areas = np.bincount(owners.reshape(-1), minlength=len(objects))
        names, parts = _largest_objects(objects, areas)
        return Segmentation(
            torch.from_numpy(names[owners]).to(image.device), *_describe_in_image(parts, found, tiles, height, width)
        )

    def _segment_tiles(self, image: Float[Tensor, "3 height width"], tiles: list[ImageTile]) -> list[Segmentation]:
        crops = [image[:, rows.start : rows.stop, columns.start : columns.stop] for rows, columns in tiles]
        count = min(MAX_BATCH_TILES, max(1, MAX_BATCH_PIXELS // crops[0][0].numel()))
        batches = [self.model.segment(torch.stack(crops[i : i + count])) for i in range(0, len(crops), count)]
        return [batch[index] for batch in batches for index in range(len(batch.labels))]


def check_tiles(rows: int, columns: int, height: int, width: int) -> None:
    """Raise an error for images that are too small for so many tiles.

    Raises:
        AstSegError: a tile would have a side below 16 pixels.
    """
    most = most_tiles(height), most_tiles(width)
    if rows > most[0] or columns > most[1]:
        raise AstSegError(
            f"{rows}x{columns} tiles of an image of {height}x{width} pixels would have sides below {MIN_SIDE} pixels: "
            f"ask for {min(rows, most[0])}x{min(columns, most[1])} at most."
        )


def check_sizes(source: Source, rows: int, columns: int) -> None:
    """Raise an error if no image of a source is large enough for so many tiles.

    Images are read up to the first that is. Those that are not can be cut into fewer tiles, wherever they stand.

    Raises:
        AstSegError: none is; the largest one is named.
    """
    of_one_size = isinstance(source, StoreSource | VideoSource)
    largest = (0, 0)
    for sample in islice(source, 1) if of_one_size else source:
        height, width = sample.image.shape[:2]
        if rows <= most_tiles(height) and columns <= most_tiles(width):
            return
        largest = max(largest, (height, width), key=math.prod)
    check_tiles(rows, columns, *largest)


def most_tiles(size: int) -> int:
    """Return into how many stretches a side of an image may be divided.

    >>> most_tiles(5), most_tiles(100)
    (1, 6)
    """
    return max(1, size // MIN_SIDE)


def tile_stretches(size: int, count: int) -> list[Stretch]:
    """Divide a side of an image into stretches of one length that overlap by a quarter of it.

    Args:
        size: pixels of the side.
        count: how many stretches; fewer are made where they would have less than 16 pixels.

    >>> [(stretch.start, stretch.stop) for stretch in tile_stretches(100, 3)]
    [(0, 40), (30, 70), (60, 100)]
    """
    count = min(count, most_tiles(size))
    length = math.ceil(size / (count - (count - 1) * OVERLAP))
    starts = np.linspace(0, size - length, count).round().astype(int).tolist()
    # Halfway through the overlap of each with the next.
    cuts = [0, *((after + before + length) // 2 for before, after in pairwise(starts)), size]
    return [
        Stretch(start, start + length, cut, next_cut)
        for start, (cut, next_cut) in zip(starts, pairwise(cuts), strict=True)
    ]


def cut_tiles(height: int, width: int, rows: int, columns: int) -> list[ImageTile]:
    """Cut an image into tiles, row by row; into fewer where they would have less than 16 pixels a side."""
    return [ImageTile(*both) for both in product(tile_stretches(height, rows), tile_stretches(width, columns))]


def _number_slots(found: list[Segmentation]) -> list[Numbers]:
    """Return the labels of each tile with numbers that no other tile has: t K + k for slot k, from 1, of tile t."""
    slots = len(found[0].activations)
    labels = (one.labels.cpu().numpy().astype(np.int64) for one in found)
    return [np.where(own > 0, own + tile * slots, 0) for tile, own in enumerate(labels)]


def _owners_of_pixels(labels: list[Numbers], tiles: list[ImageTile], height: int, width: int) -> Numbers:
    """Return the number that owns each pixel of an image, H x W: the one that the tile nearest to it gives it."""
    owners = np.zeros((height, width), np.int64)
    for own, (rows, columns) in zip(labels, tiles, strict=True):
        owners[_core(rows), _core(columns)] = own[_inner_core(rows), _inner_core(columns)]
    return owners


def join_tiles(labels: list[Numbers], tiles: list[ImageTile], count: int) -> Numbers:
    """Find which objects of tiles are one.

    Args:
        labels: the objects of each tile by numbers that no other tile has, from 1 to ``count``; 0 is the background.
        tiles: where they lie.
        count: the largest number.

    Returns:
        For each number from 0 to ``count`` the object that it belongs to: the same for parts of one object.
    """
    pairs = [(0, 0)]
    for first, second in zip(*np.triu_indices(len(tiles), 1), strict=True):
        shared = _overlap(tiles[first], tiles[second])
        if shared is not None:
            ours, theirs = (labels[index][_within(tiles[index], shared)].reshape(-1) for index in (first, second))
            pairs += _same_objects(ours, theirs)
    one, other = np.array(pairs).T
    _, objects = connected_components(coo_array((np.ones(len(pairs)), (one, other)), (count + 1, count + 1)), False)
    return np.asarray(objects, np.int64)


def _same_objects(ours: Numbers, theirs: Numbers) -> list[tuple[int, int]]:
    """Return which objects of two tiles are one, given the objects of both at the same pixels."""
    ours_there, our_index, our_areas = np.unique(ours, return_inverse=True, return_counts=True)
    theirs_there, their_index, their_areas = np.unique(theirs, return_inverse=True, return_counts=True)
    shared = np.zeros((len(ours_there), len(theirs_there)), np.int64)
    np.add.at(shared, (our_index, their_index), 1)
    shared[ours_there == 0] = 0
    shared[:, theirs_there == 0] = 0
    best = (shared == shared.max(0)) & (shared == shared.max(1, keepdims=True)) & (shared > 0)
    enough = shared >= MIN_SHARED * np.minimum(our_areas[:, None], their_areas)
    return [(int(ours_there[one]), int(theirs_there[other])) for one, other in np.argwhere(best & enough)]


def _largest_objects(objects: Numbers, areas: Numbers) -> tuple[Numbers, Numbers]:
    """Name the objects that own pixels 1, 2, ..., the 255 largest at most.

    Args:
        objects: the object that each number belongs to; number 0 is the background.
        areas: the pixels that each number owns.

    Returns:
        The name of each number, 0 for what is left out; and of each named object, the number that owns most pixels.
    """
    areas = areas.copy()
    areas[0] = 0
    wholes = np.bincount(objects, weights=areas)
    kept = np.sort(np.argsort(-wholes, kind="stable")[:MAX_LABELS])
    kept = kept[wholes[kept] > 0]
    by_object = np.zeros(len(wholes), np.int64)
    by_object[kept] = np.arange(1, len(kept) + 1)
    parts = [np.where(objects == one, areas, -1).argmax() for one in kept]
    return by_object[objects], np.array(parts, np.int64)


def _describe_in_image(
    parts: Numbers, found: list[Segmentation], tiles: list[ImageTile], height: int, width: int
) -> tuple[Tensor, ...]:
    """Return the positions, scales, activations and appearances of objects, in the coordinates of the image.

    Args:
        parts: for each object, the number by `_number_slots` of the slot that tells them.
        found: what was found in each tile.
        tiles: where they lie.
        height: of the image.
        width: of the image.
    """
    positions, scales, activations, appearances = (
        torch.stack([getattr(one, name) for one in found]) for name in OF_OBJECTS
    )
    tile, slot = (torch.from_numpy(index).to(positions.device) for index in np.divmod(parts - 1, positions.shape[1]))
    shares = positions.new_tensor([_share(one, height, width) for one in tiles])[tile]
    centers = positions.new_tensor([_center(one, height, width) for one in tiles])[tile]
    return (
        centers + shares * positions[tile, slot],
        shares * scales[tile, slot],
        activations[tile, slot],
        appearances[tile, slot],
    )


def _overlap(one: ImageTile, other: ImageTile) -> tuple[slice, slice] | None:
    """Return the rows and columns of the image that two tiles share, if any."""
    shared = [
        slice(max(mine.start, others.start), min(mine.stop, others.stop))
        for mine, others in ((one.rows, other.rows), (one.columns, other.columns))
    ]
    rows, columns = shared
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _within(tile: ImageTile, region: tuple[slice, slice]) -> tuple[slice, slice]:
    rows, columns = region
    return (
        slice(rows.start - tile.rows.start, rows.stop - tile.rows.start),
        slice(columns.start - tile.columns.start, columns.stop - tile.columns.start),
    )


def _core(stretch: Stretch) -> slice:
    return slice(stretch.core_start, stretch.core_stop)


def _inner_core(stretch: Stretch) -> slice:
    return slice(stretch.core_start - stretch.start, stretch.core_stop - stretch.start)


def _share(tile: ImageTile, height: int, width: int) -> tuple[float, float]:
    """Return the tile's width and height as a share of the image's."""
    return (tile.columns.stop - tile.columns.start) / width, (tile.rows.stop - tile.rows.start) / height


def _center(tile: ImageTile, height: int, width: int) -> tuple[float, float]:
    """Return x and y of the tile's center, where the image goes from -1 to 1."""
    return (tile.columns.start + tile.columns.stop) / width - 1, (tile.rows.start + tile.rows.stop) / height - 1
