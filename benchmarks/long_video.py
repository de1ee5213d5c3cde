"""Measure the memory that segmenting a long video takes, now and at most, and how it grows.

    python benchmarks/long_video.py --frames 180000              # 2 h at 25 frames/s, labeled by a threshold
    python benchmarks/long_video.py --frames 5000 --model rooms  # by a model

The video is made first: a bright square moves over a dark ground of 64x48 pixels. Reading and writing are those of
``astseg segment``; a threshold in place of the model makes many frames possible on a slow machine.
"""

import argparse
import resource
import time
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from astseg.data.sources import open_source
from astseg.data.video import VideoWriter
from astseg.hub.loading import load_model
from astseg.inference.segmenting import Segmenter, segment_source
from astseg.model.segmentation import Segmentation

RATE, HEIGHT, WIDTH, SIDE = 25, 48, 64, 12
FRAMES_PER_REPORT = 10_000


class Threshold:
    """A model that finds what is bright."""

    num_slots = 1

    def segment(self, images: Tensor) -> Segmentation:
        """Label bright pixels 1."""
        count = len(images)
        labels = (images.mean(1) > 0.5).long()
        zeros = torch.zeros(count, 1, 2)
        return Segmentation(labels, zeros, zeros + 0.25, zeros[..., 0], torch.zeros(count, 1, 4))


def write_video(path: Path, frames: int) -> None:
    """Write a square that goes round."""
    with VideoWriter(path, Fraction(RATE)) as writer:
        for index in range(frames):
            image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
            left, top = index % (WIDTH - SIDE), index // 7 % (HEIGHT - SIDE)
            image[top : top + SIDE, left : left + SIDE] = 220
            writer.append(image)


def memory() -> str:
    """Tell what the process holds now, and what it has held at most."""
    now = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return f"{now / 1e6:.0f} MB, at most {peak / 1e6:.0f} MB"


def main() -> None:
    """Print the memory before, while and after a video is segmented."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--model", help="by default a threshold")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model: Segmenter = load_model(options.model) if options.model else Threshold()
    with TemporaryDirectory() as folder:
        video = Path(folder, "video.mp4")
        write_video(video, options.frames)
        print(f"before: {memory()}")
        source = open_source(video)
        print(f"opened: {memory()}")
        step = min(options.frames, FRAMES_PER_REPORT)
        start = time.perf_counter()

        def show(done: int, total: int | None) -> None:
            if done % step == 0:
                seconds = time.perf_counter() - start
                print(f"{done} of {total} frames: {memory()}, {done / seconds:.0f} frames/s", flush=True)

        segment_source(model, source, Path(folder, "masks"), progress=show, track=False)
        print(f"after: {memory()}")


if __name__ == "__main__":
    main()
