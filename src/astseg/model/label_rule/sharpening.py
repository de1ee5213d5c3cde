"""Weights of layers at the size of an image larger than the model's, by that image's own edges and colors."""

import torch
from jaxtyping import Float
from torch import Tensor

from astseg.model.label_rule.color_histograms import color_bins, histogram_gains
from astseg.model.label_rule.mean_field import mean_field_smoothing, neighbor_affinities
from astseg.model.label_rule.settings import LabelRule
from astseg.model.resizing import resized

MAX_SHARPENED_PIXELS = 2**17
"""Weights of smaller images are sharpened at no larger size and enlarged from there: this takes a tenth of a second on
one core."""
MIN_ENLARGED_WEIGHT = 1e-3
"""No layer is ruled out where the weights of a smaller image are enlarged; a tenth or ten times as much changes scores
by less than 0.1."""


def sharpen_weights(
    weights: Float[Tensor, "batch layers rows columns"], images: Float[Tensor, "batch 3 _ _"], rule: LabelRule
) -> Float[Tensor, "batch layers height width"]:
    """Enlarge the weights of layers to larger images, whose own edges and colors then decide between the layers.

    The weights tell which layers are near a pixel; which of them owns it is told by the colors that each layer owns in
    the image, and by neighbors of like color.

    Args:
        weights: the weights at the model's size, of layers that may all own pixels. The first is the background's.
        images: the same images at a larger size, in [0, 1].
        rule: the weight of histograms and neighbors.

    Returns:
        Weights that sum to one over the layers, at the size of the images, or of these reduced to
        `MAX_SHARPENED_PIXELS`, or to the model's size if that is larger.
    """
    size = sharpened_size(images.shape[-2:], weights.shape[-2:])
    images, enlarged = resized(images.to(weights.dtype), size), resized(weights, size)
    log_weights = enlarged.clamp(min=MIN_ENLARGED_WEIGHT).log()
    if rule.histogram_pull:
        log_weights = log_weights + histogram_gains(enlarged, color_bins(images), rule)
    return mean_field_smoothing(log_weights, neighbor_affinities(images, rule.likeness), rule.neighbor_pull)


def sharpened_size(image_size: torch.Size, weights_size: torch.Size) -> tuple[int, int]:
    """Return the height and width at which weights are sharpened, given the image's and their own."""
    most = max(MAX_SHARPENED_PIXELS, weights_size.numel())
    shrinkage = min(1.0, (most / image_size.numel()) ** 0.5)
    height, width = (max(1, round(side * shrinkage)) for side in image_size)
    return height, width
