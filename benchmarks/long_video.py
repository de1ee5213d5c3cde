"""Measure the memory that segmenting a long video or a large folder takes, now and at most, and how it grows.

    python benchmarks/long_video.py --frames 180000                        # 2 h at 25 frames/s, labeled by a threshold
    python benchmarks/long_video.py --frames 5000 --model rooms            # by a model
    python benchmarks/long_video.py --frames 10000 --model clevr --folder  # each frame a PNG of its own

The frames are made first: a bright square moves over a dark ground of 64x64 pixels (64x48 in a video). Reading, writing
and keeping are those of ``astseg segment``; a threshold in place of the model makes many frames possible on a slow
machine.
"""

import argparse
import resource
import time
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from astseg.data.opening import open_source
from astseg.data.store import Bytes
from astseg.data.video_writer import VideoWriter
from astseg.hub.loading import load_model
from astseg.inference.resuming import ResumableSegmenter, resumable
from astseg.inference.segmenting import Segmenter, segment_source
from astseg.model.segmentation import Segmentation

RATE, HEIGHT, WIDTH, SIDE = 25, 48, 64, 12
FRAMES_PER_REPORT, IMAGES_PER_REPORT = 10_000, 1000


class Threshold:
    """A model that finds what is bright."""

    num_slots = 1

    def segment(self, images: Tensor) -> Segmentation:
        """Label bright pixels 1."""
        count = len(images)
        labels = (images.mean(1) > 0.5).long()
        zeros = torch.zeros(count, 1, 2)
        return Segmentation(labels, zeros, zeros + 0.25, zeros[..., 0], torch.zeros(count, 1, 4))


def draw(index: int, height: int) -> Bytes:
    """Return a frame of a square that goes round."""
    image = np.full((height, WIDTH, 3), 40, np.uint8)
    left, top = index % (WIDTH - SIDE), index // 7 % (height - SIDE)
    image[top : top + SIDE, left : left + SIDE] = 220
    return image


def write_video(path: Path, frames: int) -> None:
    """Write the frames as a video."""
    with VideoWriter(path, Fraction(RATE)) as writer:
        for index in range(frames):
            writer.append(draw(index, HEIGHT))


def write_folder(path: Path, frames: int) -> None:
    """Write the frames as square images."""
    path.mkdir()
    for index in range(frames):
        Image.fromarray(draw(index, WIDTH)).save(path / f"{index:06d}.png")


def memory() -> str:
    """Tell what the process holds now, and what it has held at most."""
    now = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return f"{now / 1e6:.0f} MB, at most {peak / 1e6:.0f} MB"


def main() -> None:
    """Print the memory before, while and after a video or a folder is segmented."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--model", help="by default a threshold")
    parser.add_argument("--folder", action="store_true", help="a folder of images in place of a video")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model: Segmenter = load_model(options.model) if options.model else Threshold()
    with TemporaryDirectory() as folder:
        frames = Path(folder, "images" if options.folder else "video.mp4")
        (write_folder if options.folder else write_video)(frames, options.frames)
        print(f"before: {memory()}")
        source = open_source(frames)
        print(f"opened: {memory()}", flush=True)
        step = min(options.frames, IMAGES_PER_REPORT if options.folder else FRAMES_PER_REPORT)
        start = time.perf_counter()

        def show(done: int, total: int | None) -> None:
            if done % step == 0:
                seconds = time.perf_counter() - start
                print(f"{done} of {total} frames: {memory()}, {done / seconds:.1f} frames/s", flush=True)

        out = Path(folder, "masks")
        with resumable(out, {}) as kept:
            segment_source(ResumableSegmenter(model, kept), source, out, progress=show, track=False)
        print(f"after: {memory()}, {options.frames / (time.perf_counter() - start):.1f} frames/s")


if __name__ == "__main__":
    main()
