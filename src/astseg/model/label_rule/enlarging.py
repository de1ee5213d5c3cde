"""Labels of images larger than the model's: their own edges and colors decide between the layers that are left."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from astseg.model.label_rule.color_histograms import color_bins, histogram_gains
from astseg.model.label_rule.mean_field import mean_field_smoothing, neighbor_affinities
from astseg.model.label_rule.settings import LabelRule
from astseg.model.label_rule.slot_parts import drop_specks
from astseg.model.layer_owners import layer_owners
from astseg.model.resizing import enlarged_argmax, resized

MAX_SHARPENED_PIXELS = 2**17
"""Weights of smaller images are sharpened at no larger size and enlarged from there: this takes a tenth of a second on
one core."""
MIN_ENLARGED_WEIGHT = 1e-3
"""No layer is ruled out where the weights of a smaller image are enlarged; a tenth or ten times as much changes scores
by less than 0.1."""


def enlarged_labels(
    weights: Float[Tensor, "layers rows columns"], image: Float[Tensor, "3 height width"], rule: LabelRule
) -> Int64[Tensor, "height width"]:
    """Assign the pixels of an image to layers, given the layers' weights at a smaller size."""
    pixels = layer_owners(weights, 0).flatten().bincount()
    pixels[0] += 1  # the background takes part even where it owns nothing yet
    owners = pixels.nonzero().squeeze(1)  # the fewer layers, the faster
    sharp = sharpen_weights(weights[owners][None], image[None], rule)
    if rule.noise_multiple:
        sharp = majority_weights(sharp, weights.shape[1:])
    if rule.split_parts:
        sharp = drop_specks(sharp, rule.min_pixels)
    return owners[enlarged_argmax(sharp[0], image.shape[-2:])]


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
    height, width = images.shape[-2:]
    most = max(MAX_SHARPENED_PIXELS, weights[0, 0].numel())
    shrinkage = min(1.0, (most / (height * width)) ** 0.5)
    size = max(1, round(height * shrinkage)), max(1, round(width * shrinkage))
    images, enlarged = resized(images.to(weights.dtype), size), resized(weights, size)
    log_weights = enlarged.clamp(min=MIN_ENLARGED_WEIGHT).log()
    if rule.histogram_pull:
        log_weights = log_weights + histogram_gains(enlarged, color_bins(images), rule)
    return mean_field_smoothing(log_weights, neighbor_affinities(images, rule.likeness), rule.neighbor_pull)


def majority_weights(
    weights: Float[Tensor, "batch layers height width"], size: tuple[int, int] | torch.Size
) -> Float[Tensor, "batch layers height width"]:
    """Return the share that each layer owns of the pixels around each pixel, within one pixel of a smaller image.

    Args:
        weights: the weights of layers at a larger size.
        size: height and width of the smaller image.
    """
    down, right = (large // small for large, small in zip(weights.shape[-2:], size, strict=True))
    owned = F.one_hot(layer_owners(weights), weights.shape[1]).movedim(-1, 1).to(weights.dtype)
    around = F.pad(owned, [right, right, down, down], mode="replicate")
    return F.avg_pool2d(around, (2 * down + 1, 2 * right + 1), 1)
