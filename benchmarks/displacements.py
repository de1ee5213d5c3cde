"""How far what EfficientNet-Lite0 responds to lies beside its cells, found with mirrored images and without labels.

Run: python benchmarks/displacements.py [--side 256]. Responses to a mirrored image, mirrored back, are displaced by as
much to the other side, so that half the shift at which both correlate best is the displacement. Printed in pixels, by
the network as it was trained, to the right and downwards, for images of three kinds. Block 0, which nothing uses,
responds to single pixels and cannot be measured so.
"""

import argparse

import torch
from torch import Tensor

from astseg.data.scenes.generation import render
from astseg.model.resizing import resized
from astseg.model.slow_features.efficientnet import DISPLACEMENTS, EfficientNetLite0

BLOCKS = range(1, 11)
KINDS = ("clevrtex", "clevrtex-2", "rooms")
IMAGES = 24
LARGEST_SHIFT = 1.5
"""In cells."""


def shift_between(maps: Tensor, others: Tensor, axis: int) -> float:
    """Return by how many cells others lie behind maps along an axis, where both correlate best."""
    count = maps.shape[axis]
    window = torch.hann_window(count, periodic=False).movedim(0, -1)
    spectra = []
    for one in (maps, others):
        centered = (one - one.mean(axis, keepdim=True)).movedim(axis, -1)
        spectra.append(torch.fft.rfft(centered * window))
    cross = (spectra[0].conj() * spectra[1]).flatten(0, -2).sum(0)[1 : count // 2]
    shifts = torch.arange(-LARGEST_SHIFT, LARGEST_SHIFT, 0.01)
    turns = shifts[:, None] * torch.arange(1, count // 2) / count
    return float(shifts[(cross * torch.exp(2j * torch.pi * turns)).real.sum(1).argmax()])


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=256, help="pixels of what the network sees (default: 256)")
    side = parser.parse_args().side
    network = EfficientNetLite0(BLOCKS, largest_stride=16)
    for kind in KINDS:
        images = torch.from_numpy(render(kind, 0, range(IMAGES), 64).images).permute(0, 3, 1, 2) / 255
        large = resized(images, (side, side), "bicubic").clamp(0, 1)
        straight, *mirrored = network(large), network(large.flip(-1)), network(large.flip(-2))
        print(f"{kind}, {side} pixels a side")
        for block, maps, across, down in zip(BLOCKS, straight, *mirrored, strict=True):
            stride = side // maps.shape[-1]
            right, below = (
                shift_between(maps, one.flip(axis), axis) / 2 * stride for one, axis in ((across, -1), (down, -2))
            )
            taken = DISPLACEMENTS.get(stride, 0.0)
            print(f"  block {block}, stride {stride}: {right:+.2f} {below:+.2f} (taken: {taken:+.1f})")


if __name__ == "__main__":
    main()
