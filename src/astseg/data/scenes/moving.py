"""Render sequences of CLEVR's objects that cross, hide each other, enter and leave; the camera stands still.

Each object keeps to a lane of its own, a line across the view, so that none runs into another, but those in front hide
those behind. On its way it changes its speed, stops or turns back. Once it is out of view, another enters on its lane.

A sequence depends only on its seed, index, number of frames and image size, and on a CPU is the same to the bit
everywhere: positions are computed by exact operations (see `random_source`).
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from astseg._core.errors import AstSegError
from astseg.data.scenes.clevr import draw_body, studio_camera, studio_floor, studio_light
from astseg.data.scenes.description import Body, Camera, Scene
from astseg.data.scenes.generation import Scenes, check_seed_and_indices, checked_side, one_thread
from astseg.data.scenes.random_source import RandomSource
from astseg.data.scenes.rendering import shade_scenes, trace_scenes

NAME, VERSION = "moving", 1
"""The version is incremented whenever the sequences of a seed change."""
IMAGE_SIZE = 64
MAX_FRAMES = 1000
"""Of a sequence, in which no more than 255 objects can then come one after another."""

LOWERED = 0.65
"""By this factor the camera stands lower than CLEVR's."""
NEAREST, FARTHEST = 7.2, 14.0
"""Distances on the floor from the camera between which lanes lie."""
RADII = (0.35, 0.35, 0.7)
"""CLEVR's two sizes; more are small."""
GAP = 0.05
"""Between the widest objects of neighboring lanes."""
SPEEDS = (0.1, 0.3)
"""In lengths a frame; a length is about ten of 64 pixels."""
EASE = 0.25
"""By this share of the difference an object's speed nears, in a frame, the speed that it wants."""
CHANGE = 1 / 30
"""Chance, in a frame, that an object in view wants another speed: none, or one in either direction."""
PAUSE = (1, 10)
"""Frames until the next object enters."""
OUTSIDE = 1.0
"""Objects begin and end this far out of view, whence their shadows reach into it."""


def render_sequence(seed: int, index: int, frames: int = 100, image_size: int | None = None) -> Scenes:
    """Render a sequence; the label of an object is the same in all masks, in which it may be hidden or out of view.

    Args:
        seed: 0 to 2^64 - 1.
        index: of the sequence, 0 to 2^64 - 1.
        frames: 1 to 1000.
        image_size: height and width in pixels, a multiple of 8 from 32 to 512; None for 64.

    Raises:
        AstSegError: an argument is out of range.
    """
    size = checked_side(IMAGE_SIZE if image_size is None else image_size)
    check_seed_and_indices(seed, [index])
    if not 1 <= frames <= MAX_FRAMES:
        raise AstSegError(f"A sequence has 1 to {MAX_FRAMES} frames, not {frames}.")
    rendered = Scenes(*(np.empty((frames, size, size, *channels), np.uint8) for channels in ((3,), (), ())))
    with one_thread():
        for frame, (scene, labels) in enumerate(compose(RandomSource(NAME, VERSION, seed, index), frames)):
            shown = shade_scenes(trace_scenes([scene], size))
            rendered.images[frame] = shown.images[0].numpy()
            rendered.masks[frame] = np.array([0, *labels], np.uint8)[shown.masks[0].numpy()]
            rendered.shadows[frame] = shown.shadows[0].numpy()
    return rendered


def compose(source: RandomSource, frames: int) -> Iterator[tuple[Scene, list[int]]]:
    """Sample a sequence; yield each frame's scene, and the label of each body in it."""
    camera, light, room = _camera(source), studio_light(source), studio_floor()
    lanes = _sample_lanes(source, camera)
    labels = list(range(1, len(lanes) + 1))
    latest = len(lanes)
    for _ in range(frames):
        present = [place for place, lane in enumerate(lanes) if not lane.wait]
        bodies = tuple(lanes[place].placed() for place in present)
        yield Scene(camera, room, light, bodies), [labels[place] for place in present]
        for place, lane in enumerate(lanes):
            if lane.advance():
                latest += 1
                labels[place] = latest


def _camera(source: RandomSource) -> Camera:
    """Sample CLEVR's camera, lowered so that large objects hide small ones wholly."""
    camera = studio_camera(source)
    x, y, height = camera.position
    return replace(camera, position=(x, y, LOWERED * height))


def _sample_lanes(source: RandomSource, camera: Camera) -> list["_Lane"]:
    """Sample as many lanes as there is room for, from the nearest on, each for objects of one size."""
    lanes: list[_Lane] = []
    edge = NEAREST
    while True:
        radius = source.choice(RADII)
        if edge + 2 * radius > FARTHEST:
            return lanes
        lanes.append(_Lane(source, camera, radius, edge + radius))
        edge += 2 * radius + GAP


class _Lane:
    """The objects of one size that pass, one after another, on a line across the view."""

    def __init__(self, source: RandomSource, camera: Camera, radius: float, forward: float) -> None:
        self._source, self._camera, self._radius, self._forward = source, camera, radius, forward
        _, _, depth = camera.project(camera.place(0.0, forward, radius))
        self._edge = depth * camera.tangent
        """Where the view ends, in lengths to the right and left of its middle."""
        self._begin()
        self._right = source.uniform(-self._edge, self._edge)
        self.wait = 0
        """Frames until the object is there."""

    def _begin(self) -> None:
        self._body = draw_body(self._source, (self._radius,))
        side = self._source.choice((-1.0, 1.0))
        self._right = side * self._limit
        self._speed = self._wanted = -side * self._source.uniform(*SPEEDS)
        self.wait = self._source.integer(*PAUSE)

    @property
    def _limit(self) -> float:
        return self._edge + self._body.radius + OUTSIDE

    def placed(self) -> Body:
        """Return the object where it is now."""
        return replace(self._body, center=self._camera.place(self._right, self._forward, self._body.center[2]))

    def advance(self) -> bool:
        """Go on by a frame; return whether another object has begun."""
        if self.wait:
            self.wait -= 1
            return not self.wait
        if abs(self._right) < self._edge and self._source.chance(CHANGE):
            self._wanted = self._source.choice((-1.0, 0.0, 1.0)) * self._source.uniform(*SPEEDS)
        self._speed += EASE * (self._wanted - self._speed)
        self._right += self._speed
        if abs(self._right) > self._limit:
            self._begin()
        return False
