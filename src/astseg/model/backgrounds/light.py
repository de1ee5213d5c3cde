"""How much lighter or darker an image is than a background that stands still. Not in the paper."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from astseg.model.resizing import resized

LIGHT_CELLS = 32
"""Light is estimated from the means of this many cells along each side of an image."""
LIGHT_PATCHES = 4
"""Light varies over quarters of the image's sides, too coarsely to follow a small object."""
LIGHT_TOLERANCE = 0.1
"""How much the logarithm of light varies within an image. Cells that are much further off count little, as objects."""
LIGHT_ROUNDS = 3
"""How often the patches are corrected by the error of their interpolation."""
PRIOR_CELLS = 0.1
"""The weight of the whole image's light in each patch, as a share of the patch's cells: objects may hide all of
them."""
DARKEST = 1 / 255
"""The precision of 8-bit images: below it, ratios say nothing."""


@torch.no_grad()
def estimate_light(
    images: Float[Tensor, "batch 3 height width"], background: Float[Tensor, "3 height width"]
) -> Float[Tensor, "batch 3 height width"]:
    """Estimate how much lighter images are than a background, as the logarithm of a factor for each pixel.

    Nothing is learned here, so that light which no training image had is found, too. There are two steps:

    1. The exposure is the factor of each channel with the least absolute error over all cells, a weighted median.
       Objects do not change it much as long as they cover less than half of the image.
    2. Light that varies within the image, in all channels alike, is the mean of the remaining log ratios over patches,
       interpolated. A cell counts less the further it is off (Geman and McClure's weights). The step is repeated for
       the error that remains after the interpolation.

    Args:
        images: images in [0, 1].
        background: the background, in any light.
    """
    shown = F.adaptive_avg_pool2d(images, LIGHT_CELLS).clamp(min=DARKEST)
    expected = F.adaptive_avg_pool2d(background, LIGHT_CELLS).clamp(min=DARKEST)
    ratios = (shown / expected).log()
    exposure = weighted_median(ratios.flatten(2), expected.flatten(1).expand(images.shape[0], -1, -1))[..., None, None]
    left = (ratios - exposure).mean(1, keepdim=True)
    patches = left.new_zeros(images.shape[0], 1, LIGHT_PATCHES, LIGHT_PATCHES)
    for _ in range(LIGHT_ROUNDS):
        error = left - resized(patches, left.shape[2:])
        weights = (1 + (error / LIGHT_TOLERANCE) ** 2) ** -2
        means = F.adaptive_avg_pool2d(weights * error, LIGHT_PATCHES)
        patches = patches + means / (F.adaptive_avg_pool2d(weights, LIGHT_PATCHES) + PRIOR_CELLS)
    return exposure + resized(patches, images.shape[2:])


def weighted_median(
    values: Float[Tensor, "*batch count"], weights: Float[Tensor, "*batch count"]
) -> Float[Tensor, "*batch"]:
    """Return the weighted median: the value with the smallest sum of weighted distances from all values.

    >>> weighted_median(torch.tensor([1.0, 5.0, 2.0]), torch.tensor([1.0, 3.0, 1.0]))
    tensor(5.)
    """
    values, order = values.sort(-1)
    up_to = weights.gather(-1, order).cumsum(-1)
    below_half = (up_to < up_to[..., -1:] / 2).sum(-1, keepdim=True)
    return values.gather(-1, below_half)[..., 0]
