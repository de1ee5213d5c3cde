"""One background under changing light, for a camera that stands still. Not in the paper."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from astseg.model.backgrounds.base import BackgroundReconstruction, check_min_side
from astseg.model.resizing import resized

LIGHT_CELLS = 8  # what an image says of its light: how much each of 8x8 cells differs from the static background
LIGHT_PATCHES = 4  # light changes over a quarter of the image, which no small object does, and keeps its color
LIGHT_SATURATION = 0.1  # a difference beyond this is an object's, whose size counts but not its color
MAX_LIGHT = math.log(2)  # twice or half the light; a lorry before the lens does not turn the image black


class StaticBackground(nn.Module):
    """One background under changing light, for a camera that stands still. Not in the paper.

    An autoencoder knows a few hundred frames by heart after as many steps, the objects in them too. This one has no
    room for them: it is a single image, lightened or darkened smoothly and tinted as a whole.

    Args:
        image_size: height and width in pixels.
    """

    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__()
        check_min_side(image_size)  # the same limits as the published network's
        self.static = nn.Parameter(torch.full((3, *image_size), 0.5))
        self.error_logits = nn.Parameter(torch.full((1, *image_size), -2.0))
        self.light = nn.Linear(3 * LIGHT_CELLS**2, 3 + LIGHT_PATCHES**2)
        nn.init.zeros_(self.light.weight)
        nn.init.zeros_(self.light.bias)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> BackgroundReconstruction:
        """Paint the one background in the light of each image.

        While training, colors may leave [0, 1]: a clamp would never let white learn again, once it is too bright.
        """
        difference = torch.tanh((images - self.static.detach()) / LIGHT_SATURATION)
        # As large together as one cell, so that one step of the optimizer changes the light by little.
        cells = F.adaptive_avg_pool2d(difference, LIGHT_CELLS).flatten(1) / LIGHT_CELLS
        tint, patches = self.light(cells).tensor_split([3], 1)
        patches = patches.view(-1, 1, LIGHT_PATCHES, LIGHT_PATCHES)
        light = tint[..., None, None] + resized(patches, self.static.shape[1:])
        image = self.static * (MAX_LIGHT * torch.tanh(light / MAX_LIGHT)).exp()
        error = self.error_logits.sigmoid().expand(len(images), -1, -1, -1)
        return BackgroundReconstruction(image if self.training else image.clamp(0, 1), error)
