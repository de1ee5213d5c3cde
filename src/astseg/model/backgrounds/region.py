"""A background composed of a few regions of one color each. Not in the paper."""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from astseg.model.backgrounds.base import Background, BackgroundReconstruction, check_min_side
from astseg.model.single_precision import single_precision

LATENT_DIM = 16
EDGE_SHARPNESS = 20.0  # a step of a tenth of the range gives tanh(2), about 0.96
NOISE_POINTS = 5
"""Points along each side of the image that get random values before training; values in between are interpolated.
Outlines that begin with a random value for each pixel would always keep some of it, as dots in even areas."""


def edges(images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 2 height width"]:
    """Return how sharply an image changes to the right and downwards, whatever its colors.

    0 in even areas, near 1 at edges.

    >>> edges(torch.tensor([0.0, 0.0, 1.0]).expand(1, 3, 1, 3))[0, 0].round().tolist()
    [[0.0, 1.0, 0.0]]
    """
    right = F.pad(images.diff(dim=-1).abs().amax(1, keepdim=True), (0, 1))
    down = F.pad(images.diff(dim=-2).abs().amax(1, keepdim=True), (0, 0, 0, 1))
    return (EDGE_SHARPNESS * torch.cat((right, down), 1)).tanh()


def smooth_noise(count: int, size: tuple[int, int], std: float) -> Float[Tensor, "count height width"]:
    """Return random maps that change slowly: normal values at a few points, and between them bicubic ones.

    Args:
        count: the number of maps.
        size: height and width in pixels.
        std: the standard deviation of their values, about 0.
    """
    points = torch.randn(1, count, NOISE_POINTS, NOISE_POINTS)
    maps = F.interpolate(points, size=size, mode="bicubic", align_corners=True)[0]
    return maps * (std / maps.std())


class RegionBackground(Background):
    """A background autoencoder that learns within a minute or two on a CPU. Not in the paper.

    The published network starts with nearly the same latent for all images and needs thousands of steps to
    distinguish them. Three things make this one faster. Batch normalization and a linear bottleneck separate images
    from the first step. The encoder sees edges as well as colors, so that it finds the end of a wall whatever the
    colors of wall and floor. The image is composed of a few regions of one color each: outlines and colors are linear
    in the latent, and an outline, as a level set of a linear function, can move with the camera.

    Args:
        image_size: height and width in pixels.
        channels: channels of the encoder's levels, each of half the previous level's size.
        regions: the number of regions of one color in a background.
    """

    def __init__(
        self, image_size: tuple[int, int], channels: Sequence[int] = (16, 32, 64, 96), regions: int = 8
    ) -> None:
        super().__init__()
        check_min_side(image_size)  # the limit of the published network
        self.image_size = image_size
        self.regions = regions
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise((5, *channels)):
            layers += [nn.Conv2d(inputs, outputs, 5, 2, 2, bias=False), nn.BatchNorm2d(outputs), nn.CELU()]
        height, width = (-(-side // 2 ** len(channels)) for side in image_size)
        self.encoder = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * height * width, LATENT_DIM))
        pixels = image_size[0] * image_size[1]
        self.outlines = nn.Linear(LATENT_DIM, regions * pixels)
        self.colours = nn.Linear(LATENT_DIM, regions * 3)  # spelled as in saved models
        self.error = nn.Linear(LATENT_DIM, pixels)
        if self.error.weight.is_meta:  # it has no values
            return
        for layer, weight, bias in ((self.outlines, 0.2, 0.02), (self.error, 0.01, 0.0)):
            maps = layer.out_features // pixels
            noise = smooth_noise(maps * LATENT_DIM, image_size, weight).view(maps, LATENT_DIM, pixels)
            layer.weight.data.copy_(noise.transpose(1, 2).flatten(0, 1))
            layer.bias.data.copy_(smooth_noise(maps, image_size, bias).flatten())

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> BackgroundReconstruction:
        """Encode each image as sixteen numbers and decode them."""
        with single_precision(images):
            return self._reconstruct(images)

    def _reconstruct(self, images: Tensor) -> BackgroundReconstruction:
        latents = self.encoder(torch.cat((images, edges(images)), 1))
        shares = self.outlines(latents).view(images.shape[0], self.regions, -1).softmax(1)
        colors = self.colours(latents).view(images.shape[0], self.regions, 3)
        image = (colors.transpose(1, 2) @ shares).sigmoid().view(images.shape[0], 3, *self.image_size)
        error = self.error(latents).sigmoid().view(images.shape[0], 1, *self.image_size)
        return BackgroundReconstruction(image, error)
