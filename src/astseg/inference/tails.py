"""The ways of tracked objects, drawn into overlays."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from astseg.data.store import MAX_LABELS, Bytes
from astseg.visualization.colors import SIDE_PER_CONTOUR_PIXEL, label_colors

TAIL_FRAMES = 25
"""The length of a tail."""


class Tails:
    """Remembers where tracks were in the latest frames."""

    def __init__(self) -> None:
        self._points: dict[int, deque[tuple[float, float]]] = {}

    def draw(self, image: Bytes, objects: Sequence[dict[str, Any]]) -> Bytes:
        """Return an image with the tail of each object that has a ``track``, in the color of its label.

        Args:
            image: H x W x 3, of the next frame.
            objects: what was found in it.
        """
        tracked = {entry["track"]: entry for entry in objects if "track" in entry}
        self._points = {
            track: deque([*self._points.get(track, ()), tuple(entry["centroid"])], TAIL_FRAMES)
            for track, entry in tracked.items()
        }
        if not tracked:
            return image
        canvas = Image.fromarray(image)
        pen = ImageDraw.Draw(canvas)
        colors, width = label_colors(MAX_LABELS), 1 + max(image.shape) // SIDE_PER_CONTOUR_PIXEL
        for track, points in self._points.items():
            if len(points) > 1:
                pen.line(list(points), tuple(colors[tracked[track]["label"]].tolist()), width)
        drawn: Bytes = np.asarray(canvas)
        return drawn
