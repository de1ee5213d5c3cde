"""The losses: equations 19 to 21 of the paper, and the robust loss of AE-NE, its reference [35].

All are pure functions of images in [0, 1] and of weights that sum to one over the layers.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from astseg.model.backgrounds.base import BackgroundReconstruction
from astseg.model.rendering import slot_presence
from astseg.model.single_precision import single_precision

ENTROPY_EPSILON = 1e-20
BACKGROUND_SMOOTHNESS = 3.0  # beta of the smooth L1 loss on the 0-255 scale
ROBUST_EXPONENT = 6.0
ROBUST_SCALE = 0.25


def reconstruction_loss(
    reconstruction: Float[Tensor, "batch 3 height width"], images: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, ""]:
    """Return the mean over the pixels of the squared L1 error, summed over the channels (equations 19 and 20).

    >>> black, white = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    >>> reconstruction_loss(black, white).item()  # every pixel is off by 3
    9.0
    """
    return (reconstruction - images).abs().sum(1).square().mean()


def pixel_entropy(weights: Float[Tensor, "batch layers height width"]) -> Float[Tensor, "batch height width"]:
    """Return the entropy of each pixel's distribution over the layers, in nats."""
    return -(weights * (weights + ENTROPY_EPSILON).log()).sum(1)


def pixel_entropy_loss(weights: Float[Tensor, "batch layers height width"]) -> Float[Tensor, ""]:
    """Return the mean squared entropy of the pixels (equation 21).

    It is 0 if every pixel belongs to a single layer, as it should because objects are opaque.
    """
    return pixel_entropy(weights).square().mean()


def feature_loss(
    weights: Float[Tensor, "batch layers rows columns"],
    vectors: Float[Tensor, "batch slots directions"],
    residuals: Float[Tensor, "batch directions rows columns"],
) -> Float[Tensor, ""]:
    """Return the mean square of a cell's L1 error in slow features, over sqrt(directions). Not in the paper.

    What equations 19 and 20 are for colors: each slot paints one vector under its mask, the background paints 0.
    """
    with single_precision(weights):
        painted = torch.einsum("bkhw, bkd -> bdhw", weights[:, 1:], vectors)
    return (painted - residuals).abs().sum(1).square().mean() / residuals.shape[1]


def slot_use_loss(weights: Float[Tensor, "batch layers height width"], pixels_per_cell: int = 1) -> Float[Tensor, ""]:
    """Return the mean number of slots in use in an image, made smooth by `slot_presence`. Not in the paper.

    A second slot on an object costs as much as a slot with an object of its own.
    """
    return slot_presence(weights, pixels_per_cell).sum(1).mean()


def background_pixel_error(
    images: Float[Tensor, "batch 3 height width"], backgrounds: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch height width"]:
    """Return the smooth L1 distance of each pixel from the background, from 0 to nearly 3."""
    errors = F.smooth_l1_loss(255 * images, 255 * backgrounds, beta=BACKGROUND_SMOOTHNESS, reduction="none")
    return errors.sum(1) / 255


def robust_weights(
    errors: Float[Tensor, "batch height width"], exponent: float | Float[Tensor, ""] = ROBUST_EXPONENT
) -> Float[Tensor, "batch height width"]:
    """Return the weight of each pixel in the background's loss: 1 where it fits well, little where an object hides it.

    The errors are saturated and averaged over a window first, so that whole objects lose weight.
    """
    window = 2 * (errors.shape[-1] // 75) + 1
    saturated = torch.tanh(errors / ROBUST_SCALE)
    blurred = F.avg_pool2d(saturated, window, stride=1, padding=window // 2, count_include_pad=False)
    return (-exponent * blurred).exp()


def background_loss(
    images: Float[Tensor, "batch 3 height width"],
    reconstruction: BackgroundReconstruction,
    exponent: float | Float[Tensor, ""] = ROBUST_EXPONENT,
) -> Float[Tensor, ""]:
    """Return the robust loss of the background and of the network's prediction of its own error (AE-NE).

    Args:
        images: images in [0, 1].
        reconstruction: the output of the background network.
        exponent: how strongly pixels that do not fit are discounted; 6 in the paper.
    """
    errors = background_pixel_error(images, reconstruction.image)
    prediction = F.smooth_l1_loss(
        reconstruction.error[:, 0], errors.detach() / 3, beta=BACKGROUND_SMOOTHNESS / 255, reduction="none"
    )
    return ((errors + prediction) * robust_weights(errors.detach(), exponent)).mean()
