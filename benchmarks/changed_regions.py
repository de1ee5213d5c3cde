"""How much of what moves in a video from a fixed camera a model finds, where nobody knows the truth.

    astseg train film.mp4 --out run
    python benchmarks/changed_regions.py run

What moves is a changed region: connected pixels that differ from the median of all frames, gaps of a few pixels closed.
Objects that touch are one region, and so is an object with its shadow; a region is found if half of it has a label, and
whole if four fifths of what is labeled have the same one. The frames are of those that were learned from, at the size
that was learned at, so figures of one size compare. To label everything would find everything: therefore the share of
what has not changed and has a label stands beside it.
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
from astseg.training.run import read_run_with_data

FRAMES = 170
CHANGE = 0.3
"""The L1 distance from the median, of colors in [0, 1], above which a pixel has changed."""
GAP = 2
"""Dilations and erosions that close a region: windows look like the road."""
FEWEST_PIXELS = 8
LARGE = 30
"""Pixels of a large region."""
FOUND = 0.5
WHOLE = 0.8


@dataclass(frozen=True)
class Region:
    """A changed region and what a model made of it."""

    pixels: int
    labeled: float
    """The share of it that has a label."""
    commonest: float
    """Of what is labeled, the share of the commonest label."""


def changed_pixels(image: Bytes, median: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Where a frame, H x W x 3, differs from the median of all."""
    changed = np.abs(image - median).sum(-1) > 255 * CHANGE
    return binary_closing(changed, iterations=GAP) | changed


def changed_regions(changed: npt.NDArray[np.bool_], labels: Bytes) -> list[Region]:
    """The regions of a frame, H x W, and what the labels, H x W with 0 for the background, make of them."""
    numbered, count = label(changed)
    regions = []
    for number in range(1, count + 1):
        inside = labels[numbered == number]
        if len(inside) >= FEWEST_PIXELS:
            objects = np.bincount(inside, minlength=2)[1:]
            regions.append(Region(len(inside), objects.sum() / len(inside), objects.max() / max(1, objects.sum())))
    return regions


def main() -> None:
    """Print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs")
    for run in parser.parse_args().runs:
        images = Store(read_run_with_data(run).data)["train"].images
        model = load_model(str(run))
        median = np.median(images, axis=0)
        regions, objects, still, wrong = [], 0, 0, 0
        for index in evenly_spaced(len(images), FRAMES):
            image = np.array(images[index])
            labels = (
                model.segment(from_uint8_images(image[None], torch.device("cpu"))).labels[0].numpy().astype(np.uint8)
            )
            changed = changed_pixels(image, median)
            regions += changed_regions(changed, labels)
            still += (~changed).sum()
            wrong += (~changed & (labels > 0)).sum()
            objects += len(np.unique(labels[labels > 0]))
        large = [region for region in regions if region.pixels >= LARGE]
        found = [region for region in regions if region.labeled >= FOUND]
        print(
            f"{run}: found {share(region.labeled >= FOUND for region in regions)} of {len(regions)} regions, "
            f"{share(region.labeled >= FOUND for region in large)} of {len(large)} large ones; "
            f"whole {share(region.commonest >= WHOLE for region in found)} of those found; "
            f"{objects / len(chosen):.1f} objects a frame; labeled {wrong / still:.2%} of what has not changed"
        )


def share(yes: Iterable[bool]) -> str:
    """The part that holds, in percent."""
    answers = list(yes)
    return f"{sum(answers) / max(1, len(answers)):.1%}"


if __name__ == "__main__":
    main()
