"""How much images differ from the reconstruction of their background where there is no object. Not in the paper."""

import torch
from jaxtyping import Float
from torch import Tensor

CLIPPING_MULTIPLE = 3.0
"""Distances above the noise times this are attributed to objects and left out when the noise is measured again."""
CLIPPING_ROUNDS = 5
MEDIAN_ABS_NORMAL = 0.6745
"""The median of |z| for a standard normal z: a median divided by it is a standard deviation."""
MIN_NOISE = 1 / 255
"""The precision of 8-bit images."""
MIN_IMAGES_PER_PIXEL_ESTIMATE = 10
"""With fewer images one noise is used for all pixels, because an object may cover a pixel in most of them."""


def background_distance(
    images: Float[Tensor, "batch 3 height width"], backgrounds: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch height width"]:
    """Return the distance of each pixel from the background: the mean over its channels, from 0 to 1."""
    return (images - backgrounds).abs().mean(1)


def noise_from_distances(distances: Float[Tensor, "count height width"]) -> Float[Tensor, "height width"]:
    """Measure the distance of pixels that show background from the network's reconstruction. Not in the paper.

    A pixel's own noise is the median of its distances over many images, converted to a standard deviation. Because
    passing objects increase it slightly, distances above three times the noise are left out and it is measured again
    (sigma clipping). It is still too large where an object often stands or the background is sometimes wrong, so the
    result is the geometric mean of a pixel's own noise and the median over all pixels.

    Args:
        distances: the `background_distance` of images that the network was trained on.

    Returns:
        The noise as a standard deviation, in the units of the distances; at least the precision of 8-bit images.
    """
    # Row by row, because the median needs several times the memory of its input.
    own = torch.stack([_sigma_clipped_scale(row) for row in distances.unbind(1)])
    typical = own.median()
    noise = (own * typical).sqrt() if len(distances) >= MIN_IMAGES_PER_PIXEL_ESTIMATE else typical.expand_as(own)
    return noise.clamp(min=MIN_NOISE)


def _sigma_clipped_scale(distances: Float[Tensor, "count width"]) -> Float[Tensor, "width"]:
    scale = distances.median(0).values / MEDIAN_ABS_NORMAL
    for _ in range(CLIPPING_ROUNDS):
        kept = torch.where(distances <= CLIPPING_MULTIPLE * scale, distances, torch.nan)
        scale = kept.nanmedian(0).values / MEDIAN_ABS_NORMAL
    return scale
