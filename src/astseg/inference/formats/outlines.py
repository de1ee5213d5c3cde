"""Masks as outlines, each of one polygon, and back.

Readers of polygons do not agree which pixels one covers. Some take the pixels whose centers lie in it, others those
that its points and sides touch as well, such as OpenCV's ``fillPoly``, after cutting off the decimals. So the outline
of a mask runs along the edges of its pixels, but a little inside: then both find exactly the mask.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float64, Int64
from PIL import Image, ImageDraw
from pycocotools.mask import decode, frPyObjects
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial import Delaunay

Mask: TypeAlias = Bool[np.ndarray, "height width"]
Points: TypeAlias = Float64[np.ndarray, "points 2"]

INSET = 1 / 16
"""In pixels: how far inside the edges of its pixels an outline runs."""
STEPS = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
"""x and y of the directions right, down, left and up."""
INWARD = np.roll(STEPS, -1, axis=0)
"""The side of each direction on which the mask is: its right-hand side."""
ROUNDING = 1e-9


def mask_to_polygon(mask: Mask, tolerance: float = 0.0) -> Points:
    """Return the outline of a mask as one polygon.

    The outlines of several parts, and of holes, are joined by the shortest lines between them, which are walked there
    and back: they enclose nothing.

    Args:
        mask: with at least one pixel.
        tolerance: how far, in pixels, the outline may depart from the mask's own to have fewer points; 0 keeps the mask
            as it is. An outline that would have fewer than three points is not simplified.

    Returns:
        x and y of the points, 3 or more, in pixels from the mask's top left corner; the last is not the first again.
    """
    loops = _trace(mask)
    starts = np.cumsum([0, *map(len, loops)])
    points = np.concatenate(loops)
    bridges = _find_bridges(points, np.repeat(np.arange(len(loops)), np.diff(starts)))
    kept = []
    for first, loop in zip(starts.tolist(), loops, strict=False):
        ends = [index - first for index in range(first, first + len(loop)) if index in bridges]
        kept.append([first + index for index in _simplify(loop, ends, tolerance)])
    return points[list(_tour(kept, bridges))]


def polygon_to_mask(polygon: Points, height: int, width: int) -> Mask:
    """Return the pixels that a polygon covers for readers that cut off decimals and take the sides too.

    Sides are drawn by Pillow, whose lines are not at every pixel those of OpenCV.

    Args:
        polygon: x and y of the points, in pixels.
        height: of the mask.
        width: of the mask.
    """
    cut = np.trunc(polygon)
    centers = cut + 0.5
    (inside,) = frPyObjects([centers.ravel().tolist()], height, width)
    sides = Image.new("1", (width, height))
    ImageDraw.Draw(sides).line(np.concatenate([cut, cut[:1]]).ravel().tolist(), fill=1)
    covered: Mask = decode(inside).astype(bool) | np.array(sides)
    return covered


def _trace(mask: Mask) -> list[Points]:
    """Return the closed lines along the edges of a mask's pixels, with the mask on their right, a point at each pixel.

    Pixels that touch at a corner alone are apart.
    """
    padded = np.pad(mask, 1)
    inside, above, left, corner = padded[1:, 1:], padded[:-1, 1:], padded[1:, :-1], padded[:-1, :-1]
    # Whether an edge begins at a corner of the grid and goes right, down, left or up.
    begins = np.stack([inside & ~above, left & ~inside, corner & ~left, above & ~corner])
    direction, y, x = np.nonzero(begins)
    position = np.stack([x, y], 1)
    end_x, end_y = (position + STEPS[direction]).T
    following = direction + 2
    for turn in (-1, 0, 1):  # turning right, if possible, stays with the pixel
        possible = (direction + turn) % 4
        following = np.where(begins[possible, end_y, end_x], possible, following)
    # Edges are sorted by direction, row and column, and so are these numbers of theirs.
    numbers = np.ravel_multi_index((direction, y, x), begins.shape)
    next_numbers = np.ravel_multi_index((following % 4, end_y, end_x), begins.shape)
    successor = dict(enumerate(np.searchsorted(numbers, next_numbers).tolist()))
    loops = []
    for loop in _closed_walks(successor):
        chosen = np.array(loop)
        inward = INWARD[direction[chosen]] + INWARD[np.roll(direction[chosen], 1)]
        loops.append(position[chosen] + INSET * np.clip(inward, -1, 1))
    return loops


def _closed_walks(successor: Mapping[int, int]) -> Iterator[list[int]]:
    """Yield the loops that lead from each number to the one after it, until they come back."""
    left = dict(successor)
    while left:
        index, loop = next(iter(left)), []
        while index in left:
            loop.append(index)
            index = left.pop(index)
        yield loop


def _find_bridges(points: Points, loop_of: Int64[np.ndarray, "points"]) -> dict[int, list[int]]:
    """Return the ends of the shortest lines that join all loops: a minimum spanning tree, whose lines are Delaunay's.

    Returns:
        For each point at which lines end, their other ends.
    """
    bridges: dict[int, list[int]] = {}
    if loop_of[-1] == 0:
        return bridges
    corners = Delaunay(points).simplices
    pairs = np.unique(np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [0, 2]]])), axis=0)
    first, second = pairs[loop_of[pairs[:, 0]] != loop_of[pairs[:, 1]]].T
    lengths = np.hypot(*(points[first] - points[second]).T)
    shortest: dict[tuple[int, int], tuple[float, int, int]] = {}
    for one, other, length in zip(first.tolist(), second.tolist(), lengths.tolist(), strict=True):
        key = (min(loop_of[one], loop_of[other]), max(loop_of[one], loop_of[other]))
        shortest[key] = min(shortest.get(key, (np.inf, 0, 0)), (length, one, other))
    rows, columns = zip(*shortest, strict=True)
    count = int(loop_of[-1]) + 1
    graph = coo_array(([length for length, _, _ in shortest.values()], (rows, columns)), (count, count))
    for pair in zip(*minimum_spanning_tree(graph).nonzero(), strict=True):
        _, one, other = shortest[pair]
        bridges.setdefault(one, []).append(other)
        bridges.setdefault(other, []).append(one)
    return bridges


def _simplify(loop: Points, ends: Sequence[int], tolerance: float) -> list[int]:
    """Return the points to keep of a closed line, by Ramer, Douglas and Peucker's rule: no other is further away.

    Args:
        loop: the points.
        ends: those where bridges end, which are kept.
        tolerance: in pixels.
    """
    if len(loop) == 4:  # a pixel
        return list(range(4))
    first = ends[0] if ends else 0
    farthest = int(np.hypot(*(loop - loop[first]).T).argmax())
    stops = sorted({*ends, first, farthest})
    stretches = [*pairwise(stops), (stops[-1], stops[0] + len(loop))]
    kept = {*stops, *_find_corners(np.concatenate([loop, loop]), stretches, tolerance)}
    return sorted({index % len(loop) for index in kept}) if len(kept) > 2 else _simplify(loop, ends, 0.0)


def _find_corners(points: Points, stretches: list[tuple[int, int]], tolerance: float) -> Iterator[int]:
    """Yield the points at which stretches of a line, each from its first to its last point, have to turn."""
    waiting = list(stretches)
    while waiting:
        begin, end = waiting.pop()
        distances = _distances(points[begin + 1 : end], points[begin], points[end])
        if len(distances) and distances.max() > tolerance + ROUNDING:
            corner = begin + 1 + int(distances.argmax())
            yield corner
            waiting += [(begin, corner), (corner, end)]


def _distances(points: Points, begin: npt.NDArray[np.float64], end: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the distances of points from a line segment."""
    along = end - begin
    length = float(along @ along)
    share = np.clip((points - begin) @ along / length, 0, 1) if length else np.zeros(len(points))
    distances: npt.NDArray[np.float64] = np.hypot(*(points - begin - share[:, None] * along).T)
    return distances


def _tour(loops: Sequence[Sequence[int]], bridges: Mapping[int, Sequence[int]]) -> Iterator[int]:
    """Walk along all loops: where bridges begin, over each and back, with a round of the loop beyond in between."""
    loop_of = {point: loop for loop in loops for point in loop}
    waiting: list[tuple[Iterator[int], tuple[int, ...]]] = [(iter(loops[0]), ())]
    visited = {loops[0][0]}
    while waiting:
        walk, way_back = waiting[-1]
        point = next(walk, None)
        if point is None:
            waiting.pop()
            yield from way_back
            continue
        yield point
        for other in bridges.get(point, ()):
            loop = loop_of[other]
            if loop[0] not in visited:
                visited.add(loop[0])
                turn = loop.index(other)
                waiting.append((iter([*loop[turn:], *loop[:turn]]), (other, point)))
