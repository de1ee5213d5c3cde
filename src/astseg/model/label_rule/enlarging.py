"""Labels of images larger than the model's: their own edges and colors decide between the layers that are left."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from astseg.model.label_rule.settings import LabelRule
from astseg.model.label_rule.sharpening import sharpen_weights
from astseg.model.label_rule.slot_parts import drop_specks
from astseg.model.label_rule.windowed_sharpening import sharpen_in_windows
from astseg.model.layer_owners import layer_owners
from astseg.model.resizing import enlarged_argmax

MIN_WINDOWED_PIXELS = 2**15
"""From this size on, images are sharpened in windows on a processor."""


def enlarged_labels(
    weights: Float[Tensor, "layers rows columns"], image: Float[Tensor, "3 height width"], rule: LabelRule
) -> Int64[Tensor, "height width"]:
    """Assign the pixels of an image to layers, given the layers' weights at a smaller size."""
    pixels = layer_owners(weights, 0).flatten().bincount()
    pixels[0] += 1  # the background takes part even where it owns nothing yet
    owners = pixels.nonzero().squeeze(1)  # the fewer layers, the faster
    if weights.is_cpu and image[0].numel() >= MIN_WINDOWED_PIXELS:
        sharp = sharpen_in_windows(weights[owners], image, rule)[None]
    else:  # many small operations would take longer
        sharp = sharpen_weights(weights[owners][None], image[None], rule)
    if rule.noise_multiple:
        sharp = majority_weights(sharp, weights.shape[1:])
    if rule.split_parts:
        sharp = drop_specks(sharp, rule.min_pixels)
    return owners[enlarged_argmax(sharp[0], image.shape[-2:])]


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
    # The same as avg_pool2d, which takes up to four times as long.
    counts = _sums_of_successive(_sums_of_successive(around, 2 * down + 1, -2), 2 * right + 1, -1)
    return counts.div_((2 * down + 1) * (2 * right + 1))


def _sums_of_successive(maps: Float[Tensor, "..."], count: int, dim: int) -> Float[Tensor, "..."]:
    """Return the sum of every so many successive values along a dimension."""
    length = maps.shape[dim] - count + 1
    sums = maps.narrow(dim, 0, length).clone()
    for start in range(1, count):
        sums += maps.narrow(dim, start, length)
    return sums
