"""Measure how much of what moves in a video from a fixed camera a model finds, without ground truth.

    astseg train film.mp4 --out run
    python benchmarks/changed_regions.py run

A changed region stands for something that moves: connected pixels that differ from the median of all frames, with gaps
of a few pixels closed. Objects that touch are one region, and so are an object and its shadow. A region is found if
half of its pixels are labeled as an object, and whole if four fifths of those have the same label. The frames are
training images at the model's size, so figures are comparable at the same size only. A model that labels everything
finds everything, so the share of unchanged pixels that are labeled is printed too.
"""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import binary_closing, label

from astseg._core.image_conversion import from_uint8_images
from astseg._core.sampling import evenly_spaced
from astseg.data.store import Bytes, Store
from astseg.hub.loading import load_model
from astseg.training.run_folder import read_run_with_data

MAX_FRAMES = 170
MIN_CHANGE = 0.3
"""A pixel has changed if its L1 distance from the median, of colors in [0, 1], is larger."""
CLOSING_STEPS = 2
"""Dilations, and then erosions, that close gaps in a region: a car's windows may look like the road."""
MIN_PIXELS = 8
MIN_LARGE_PIXELS = 30
MIN_FOUND_SHARE = 0.5
MIN_WHOLE_SHARE = 0.8


@dataclass(frozen=True)
class Region:
    """A changed region and how a model labels it."""

    pixels: int
    labeled: float
    """The share of its pixels that are labeled as an object."""
    most_common: float
    """The share of those that have the most common label."""


def changed_pixels(image: Bytes, median: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return where a frame, H x W x 3, differs from the median of all frames."""
    changed = np.abs(image - median).sum(-1) > 255 * MIN_CHANGE
    closed: npt.NDArray[np.bool_] = binary_closing(changed, iterations=CLOSING_STEPS) | changed
    return closed


def changed_regions(changed: npt.NDArray[np.bool_], labels: Bytes) -> list[Region]:
    """Return the regions of a frame, H x W, with their shares by the labels, H x W with 0 for the background."""
    numbered, count = label(changed)
    regions = []
    for number in range(1, count + 1):
        inside = labels[numbered == number]
        if len(inside) >= MIN_PIXELS:
            objects = np.bincount(inside, minlength=2)[1:]
            regions.append(Region(len(inside), objects.sum() / len(inside), objects.max() / max(1, objects.sum())))
    return regions


def main() -> None:
    """Print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of training runs")
    for run in parser.parse_args().runs:
        images = Store(read_run_with_data(run).data)["train"].images
        model = load_model(str(run))
        median = np.median(images, axis=0)
        regions, objects, unchanged, wrong = [], 0, 0, 0
        frames = evenly_spaced(len(images), MAX_FRAMES)
        for index in frames:
            image = np.array(images[index])
            segmentation = model.segment(from_uint8_images(image[None], torch.device("cpu")))
            labels = segmentation.labels[0].numpy().astype(np.uint8)
            changed = changed_pixels(image, median)
            regions += changed_regions(changed, labels)
            unchanged += (~changed).sum()
            wrong += (~changed & (labels > 0)).sum()
            objects += len(np.unique(labels[labels > 0]))
        large = [region for region in regions if region.pixels >= MIN_LARGE_PIXELS]
        found = [region for region in regions if region.labeled >= MIN_FOUND_SHARE]
        print(
            f"{run}: found {share(region.labeled >= MIN_FOUND_SHARE for region in regions)} of {len(regions)} regions, "
            f"{share(region.labeled >= MIN_FOUND_SHARE for region in large)} of {len(large)} large ones; "
            f"whole {share(region.most_common >= MIN_WHOLE_SHARE for region in found)} of those found; "
            f"{objects / len(frames):.1f} objects a frame; labeled {wrong / unchanged:.2%} of the unchanged pixels"
        )


def share(values: Iterable[bool]) -> str:
    """Format the share of the values that are true, in percent."""
    answers = list(values)
    return f"{sum(answers) / max(1, len(answers)):.1%}"


if __name__ == "__main__":
    main()
