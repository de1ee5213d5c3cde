"""Local responses: channels that say what an image looks like around each cell of a grid."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from astseg.model.resizing import moved_and_resized, resized
from astseg.model.slow_features.efficientnet import EfficientNetLite0

LITE0_BLOCKS, LITE0_SIDE, LITE0_STRIDE = (2, 4, 7, 10), 256, 8
"""The blocks of EfficientNet whose outputs are responses; the longer side, in pixels, of the image that it is given;
and the largest stride of its maps in these pixels. Its maps are then grids from 64x64 to 32x32."""
DENSE_BLOCKS, DENSE_SIDE, DENSE_STRIDE = (1, 2, 3, 4, 6, 7, 9, 10), 320, 16
"""The same for responses that show camouflaged objects better: twice as many blocks, and a larger image."""
BLUR = 1.0
"""The standard deviation, in cells, of the blur that turns responses into those of a neighborhood."""


class ResponseMap(NamedTuple):
    """Some channels of local responses."""

    values: Float[Tensor, "batch channels _ _"]
    """Of the cells of a grid of its own."""
    displacement: float = 0.0
    """How far to the right of a cell's center, and below it, its response belongs, in cells."""

    def on_grid(self, grid: tuple[int, int]) -> Float[Tensor, "batch channels rows columns"]:
        """Return the responses to what lies at each cell of a grid."""
        return moved_and_resized(self.values, grid, self.displacement)


class LocalResponses(nn.Module, ABC):
    """A frozen backbone: images in [0, 1] of any size in, N x C x grid out. Training does not change it."""

    channels: int
    """C, colors included."""

    @abstractmethod
    def responses(self, images: Float[Tensor, "batch 3 height width"], grid: tuple[int, int]) -> list[ResponseMap]:
        """Return maps whose channels, after the colors, are the responses, of any sizes."""

    @torch.no_grad()
    def maps(self, images: Float[Tensor, "batch 3 height width"], grid: tuple[int, int]) -> list[ResponseMap]:
        """Return all channels, colors first, as maps of any sizes."""
        responses = (one._replace(values=one.values.float()) for one in self.responses(images, grid))
        return [ResponseMap(resized(images, grid)), *responses]

    @torch.no_grad()
    def forward(
        self, images: Float[Tensor, "batch 3 height width"], grid: tuple[int, int]
    ) -> Float[Tensor, "batch channels rows columns"]:
        """Return the responses of each cell of a grid, colors first, blurred by about a cell."""
        return gaussian_blur(torch.cat([one.on_grid(grid) for one in self.maps(images, grid)], 1), BLUR)


class Lite0Responses(LocalResponses):
    """The outputs of some blocks of EfficientNet-Lite0, which is given the image enlarged.

    Args:
        blocks: the blocks, counted from 0.
        side: the longer side of the enlarged image, in pixels.
        stride: the largest stride of the maps, in these pixels.
    """

    def __init__(
        self, blocks: Sequence[int] = LITE0_BLOCKS, side: int = LITE0_SIDE, stride: int = LITE0_STRIDE
    ) -> None:
        super().__init__()
        self.network = EfficientNetLite0(blocks, stride)
        self.side, self.stride = side, stride
        self.channels = 3 + sum(self.network.channels)

    def responses(self, images: Float[Tensor, "batch 3 height width"], grid: tuple[int, int]) -> list[ResponseMap]:
        """Return the outputs of the blocks."""
        cells = self.side / self.stride / max(grid)
        size = [self.stride * max(1, round(side * cells)) for side in grid]
        large = resized(images, (size[0], size[1]), "bicubic").clamp(0, 1)
        maps = self.network(large.contiguous(memory_format=torch.channels_last))
        return [ResponseMap(*one) for one in zip(maps, self.network.displacements, strict=True)]


class FilterResponses(LocalResponses):
    """Colors, their extremes, and the energies of differences in four directions and of a Laplacian, at two scales."""

    channels = 3 + 2 * 5 * 3 + 2 * 3 + 3

    def responses(self, images: Float[Tensor, "batch 3 height width"], grid: tuple[int, int]) -> list[ResponseMap]:
        """Return the energies of both scales, the extremes, and the colors blurred once more."""
        fine = resized(images, (2 * grid[0], 2 * grid[1]))
        maps = []
        for scale in (fine, F.avg_pool2d(fine, 2)):
            padded = F.pad(scale, (1, 1, 1, 1), mode="replicate")
            across = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
            down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
            falling = padded[..., 2:, 2:] - padded[..., :-2, :-2]
            rising = padded[..., 2:, :-2] - padded[..., :-2, 2:]
            laplacian = scale - gaussian_blur(scale, 1.0)
            maps += [part.abs() for part in (across, down, laplacian, falling, rising)]
        lightest, darkest = F.max_pool2d(fine, 4, 2, 1), -F.max_pool2d(-fine, 4, 2, 1)
        maps += [lightest, darkest, gaussian_blur(resized(images, grid), 2.0)]
        return [ResponseMap(one) for one in maps]


def gaussian_blur(maps: Float[Tensor, "batch channels height width"], deviation: float) -> Tensor:
    """Blur by a Gaussian whose standard deviation is given in cells; the border is repeated."""
    reach = int(3 * deviation + 0.5)
    offsets = torch.arange(-reach, reach + 1, dtype=maps.dtype, device=maps.device)
    kernel = (-offsets.square() / (2 * deviation**2)).exp()
    kernel = kernel / kernel.sum()
    channels = maps.shape[1]
    across, down = kernel.expand(channels, 1, 1, -1), kernel[:, None].expand(channels, 1, -1, 1)
    maps = F.conv2d(F.pad(maps, (reach, reach, 0, 0), mode="replicate"), across, groups=channels)
    return F.conv2d(F.pad(maps, (0, 0, reach, reach), mode="replicate"), down, groups=channels)
