"""One background under changing light, for a static camera. Not in the paper."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from astseg.model.backgrounds.base import Background, BackgroundReconstruction, check_min_side
from astseg.model.resizing import resized
from astseg.model.single_precision import single_precision

LIGHT_CELLS = 8  # light is estimated from the differences between the image and the background in 8x8 cells
LIGHT_PATCHES = 4  # brightness varies over quarters of the image's sides, too coarsely to follow a small object
LIGHT_SATURATION = 0.1  # larger differences are objects: these count by their area, not by their color
MAX_LIGHT = math.log(2)  # twice or half the light: a truck in front of the lens does not turn the image black


class StaticBackground(Background):
    """One background under changing light, for a static camera. Not in the paper.

    An autoencoder memorizes a few hundred frames, objects included, within a few hundred steps. This network cannot:
    it is a single image, lightened or darkened smoothly and tinted as a whole.

    ``noise`` is how far each pixel lies from it where no object is, measured after training
    (`noise.noise_from_distances`). Until then it is 1.

    Args:
        image_size: height and width in pixels.
    """

    noise: Float[Tensor, "height width"]

    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__()
        check_min_side(image_size)  # the limit of the published network
        self.static = nn.Parameter(torch.full((3, *image_size), 0.5))
        self.error_logits = nn.Parameter(torch.full((1, *image_size), -2.0))
        self.light = nn.Linear(3 * LIGHT_CELLS**2, 3 + LIGHT_PATCHES**2)
        nn.init.zeros_(self.light.weight)
        nn.init.zeros_(self.light.bias)
        self.register_buffer("noise", torch.ones(image_size))

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> BackgroundReconstruction:
        """Return the background in the light of each image.

        In training mode colors may leave [0, 1]: clamped, a color that is too bright would have no gradient.
        """
        with single_precision(images):
            return self._reconstruct(images)

    def _reconstruct(self, images: Tensor) -> BackgroundReconstruction:
        difference = torch.tanh((images - self.static.detach()) / LIGHT_SATURATION)
        # Scaled to the norm of a single cell, so that one step of the optimizer changes the light only slightly.
        cells = F.adaptive_avg_pool2d(difference, LIGHT_CELLS).flatten(1) / LIGHT_CELLS
        tint, patches = self.light(cells).tensor_split([3], 1)
        patches = patches.view(-1, 1, LIGHT_PATCHES, LIGHT_PATCHES)
        light = tint[..., None, None] + resized(patches, self.static.shape[1:])
        image = self.static * (MAX_LIGHT * torch.tanh(light / MAX_LIGHT)).exp()
        error = self.error_logits.sigmoid().expand(images.shape[0], -1, -1, -1)
        return BackgroundReconstruction(image if self.training else image.clamp(0, 1), error)
