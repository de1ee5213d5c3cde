"""Films to test with."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

from astseg.data.video import Bytes


def write_film(
    path: Path, images: Sequence[Bytes], codec: str = "mpeg4", rate: int = 25, form: str | None = None, turned: int = 0
) -> None:
    """Write images of one size at an even rate, to be shown turned by an angle in degrees."""
    with av.open(str(path), "w", format=form) as container:
        stream: Any = container.add_stream(codec, rate=rate, options={"x265-params": "log-level=none"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if turned:
            stream.set_display_rotation(turned)
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def plain_images(greys: Iterable[int]) -> list[Bytes]:
    """Return images 48 pixels high and 64 wide, each of one grey value."""
    return [np.full((48, 64, 3), grey, np.uint8) for grey in greys]
