"""One background under changing light, for a static camera. Not in the paper."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from astseg.model.backgrounds.base import Background, BackgroundReconstruction, check_min_side
from astseg.model.backgrounds.light import estimate_light
from astseg.model.single_precision import single_precision

BRIGHTNESS = 0.5
"""The mean of each channel of the background before the light of an image is applied."""


class StaticBackground(Background):
    """One background under changing light, for a static camera. Not in the paper.

    An autoencoder memorizes a few hundred frames, objects included, within a few hundred steps. This network cannot:
    it is a single image, lightened or darkened smoothly and tinted as a whole, by what `estimate_light` finds.

    ``noise`` is the usual distance of each pixel from the background where there is no object. It is measured after
    training (`noise.noise_from_distances`); until then it is 1.

    Args:
        image_size: height and width in pixels.
    """

    noise: Float[Tensor, "height width"]

    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__()
        check_min_side(image_size)  # the limit of the published network
        self.static = nn.Parameter(torch.full((3, *image_size), 0.5))
        self.error_logits = nn.Parameter(torch.full((1, *image_size), -2.0))
        self.register_buffer("noise", torch.ones(image_size))

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> BackgroundReconstruction:
        """Return the background in the light of each image.

        In training mode colors may leave [0, 1]: clamped, a color that is too bright would have no gradient.
        """
        with single_precision(images):
            return self._reconstruct(images)

    def _reconstruct(self, images: Tensor) -> BackgroundReconstruction:
        # The parameter's own brightness is divided out, so that only the light decides how bright an image is. If both
        # did, one could undo the other, and objects darker than what they hide would darken it from step to step.
        static = self.static * (BRIGHTNESS / self.static.mean((1, 2), keepdim=True))
        image = static * estimate_light(images, static).exp()
        error = self.error_logits.sigmoid().expand(images.shape[0], -1, -1, -1)
        return BackgroundReconstruction(image if self.training else image.clamp(0, 1), error)
