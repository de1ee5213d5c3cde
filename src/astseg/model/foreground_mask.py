"""Foreground masks from the background network alone, by AE-NE's rule or by the measured noise.

In AE-NE the network predicts its own error, and a pixel is foreground if it differs by more than seven times that.
After the published schedule the prediction is right. After a minute of training it is still many times too large, and
almost nothing is foreground. The other rule, not in the paper, measures instead how much images differ from the
reconstruction where there is no object.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from astseg.model.backgrounds.base import BackgroundReconstruction
from astseg.model.layer_owners import layer_owners
from astseg.model.mean_field import mean_field_smoothing, neighbor_affinities
from astseg.model.postprocessing import LabelRule, sharpen_weights
from astseg.model.resizing import enlarged_argmax, resized

NOISE_MULTIPLE = 7.0
"""A pixel is foreground if its distance from the background exceeds its noise times this, without its neighbors."""
CLIPPING_MULTIPLE = 3.0
"""Distances above the noise times this are attributed to objects and left out when the noise is measured again."""
CLIPPING_ROUNDS = 5
MEDIAN_ABS_NORMAL = 0.6745
"""The median of |z| for a standard normal z: a median divided by it is a standard deviation."""
MIN_NOISE = 1 / 255
"""The precision of 8-bit images."""
MIN_IMAGES_PER_PIXEL_ESTIMATE = 10
"""With fewer images one noise is used for all pixels, because an object may cover a pixel in most of them."""


def ae_ne_foreground_mask(
    images: Float[Tensor, "batch 3 height width"],
    reconstruction: BackgroundReconstruction,
    size: tuple[int, int] | None = None,
) -> Bool[Tensor, "batch mask_height mask_width"]:
    """Return the foreground by AE-NE's rule.

    A pixel is foreground if its distance from the background exceeds seven times the error that the network predicts
    there, plus a margin for the background's brightness. Masks with a side of 400 pixels or more are cleaned by a
    closing and an opening.

    Args:
        images: images in [0, 1], as the network saw them.
        reconstruction: the network's output for them.
        size: height and width of the masks, by default the images'. For images reduced for the network, give the
            original size: masks are then enlarged, because an enlarged background would lack fine detail.
    """
    distance = 255 * (images - reconstruction.image).abs().mean(1)
    excess = 3 * F.relu(distance - 7 * 255 * reconstruction.error[:, 0])
    threshold = 96 * reconstruction.image.mean((1, 2, 3))
    beyond = excess - threshold[:, None, None]
    mask = resized(beyond[:, None], size or images.shape[-2:])[:, 0] > 0
    if max(mask.shape[-2:]) < 400:
        return mask
    return torch.stack([_close_and_open(single) for single in mask])


def _close_and_open(mask: Bool[Tensor, "height width"]) -> Bool[Tensor, "height width"]:
    # The mask is continued beyond its border, so that the filters do not erode it there.
    margin = 10  # more than the reach of both filters together
    padded = F.pad(mask[None, None].float(), [margin] * 4, mode="replicate")[0, 0].bool().cpu().numpy()
    closed = ndimage.binary_closing(padded, structure=torch.ones(5, 5).numpy())
    opened = ndimage.binary_opening(closed, structure=torch.ones(7, 7).numpy())
    return torch.from_numpy(opened[margin:-margin, margin:-margin].copy()).to(mask.device)


def background_distance(
    images: Float[Tensor, "batch 3 height width"], backgrounds: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch height width"]:
    """Return the distance of each pixel from the background: the mean over its channels, from 0 to 1."""
    return (images - backgrounds).abs().mean(1)


def background_noise(distances: Float[Tensor, "count height width"]) -> Float[Tensor, "height width"]:
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


def foreground_weights(
    images: Float[Tensor, "batch 3 height width"],
    backgrounds: Float[Tensor, "batch 3 height width"],
    noise: Float[Tensor, "height width"],
    rule: LabelRule,
    expected: Bool[Tensor, "batch height width"] | None = None,
) -> Float[Tensor, "batch layers=2 height width"]:
    """Return how likely each pixel is background and foreground, by its distance from the background.

    Not in the paper. With T the noise times ``rule.noise_multiple``, a pixel at distance d has log-odds of
    2 (d / T - 1) for foreground: 0 at T, and -2 where it equals the background. Mean-field smoothing then makes
    neighbors of similar colors agree, as strongly as the rule says: a car's windows, which look like the road, join the
    car, and specks join their surroundings.

    Args:
        images: images in [0, 1], as the network saw them.
        backgrounds: the network's reconstructions of their backgrounds.
        noise: the result of `background_noise`.
        rule: how many times the noise a pixel must differ, and the pull of its neighbors.
        expected: pixels that are foreground from half that distance on.

    Returns:
        Weights that sum to one over the two.
    """
    log_odds = 2 * (background_distance(images, backgrounds) / (rule.noise_multiple * noise) - 1)
    if expected is not None:
        log_odds = log_odds + expected.to(log_odds.dtype)
    log_weights = torch.stack((-log_odds / 2, log_odds / 2), 1)
    return mean_field_smoothing(log_weights, neighbor_affinities(images, rule.likeness), rule.neighbor_pull)


def noise_foreground_mask(
    images: Float[Tensor, "batch 3 height width"],
    backgrounds: Float[Tensor, "batch 3 height width"],
    noise: Float[Tensor, "height width"],
    originals: Float[Tensor, "batch 3 mask_height mask_width"] | None = None,
) -> Bool[Tensor, "batch mask_height mask_width"]:
    """Return the pixels that differ from the background by more than its noise explains (`foreground_weights`).

    Larger originals decide the rims (`sharpen_weights`), and each pixel goes with most of those within a pixel that the
    network saw.

    Args:
        images: images in [0, 1], as the network saw them.
        backgrounds: the network's reconstructions of their backgrounds.
        noise: the result of `background_noise`.
        originals: the images at the size of the masks; by default as the network saw them.
    """
    rule = LabelRule(noise_multiple=NOISE_MULTIPLE)
    weights = foreground_weights(images, backgrounds, noise, rule)
    if originals is None:
        originals = images
    size = originals.shape[-2:]
    if size.numel() > noise.numel():
        weights = majority_weights(sharpen_weights(weights, originals, rule), noise.shape)
    return torch.stack([enlarged_argmax(layers, size) for layers in weights]).bool()


def majority_weights(
    weights: Float[Tensor, "batch layers height width"], size: tuple[int, int] | torch.Size
) -> Float[Tensor, "batch layers height width"]:
    """Return the share of the pixels around each that each layer owns, as far away as a pixel of a smaller image.

    Args:
        weights: the weights of layers at a larger size.
        size: height and width of the smaller image.
    """
    down, right = (large // small for large, small in zip(weights.shape[-2:], size, strict=True))
    owned = F.one_hot(layer_owners(weights), weights.shape[1]).movedim(-1, 1).to(weights.dtype)
    around = F.pad(owned, [right, right, down, down], mode="replicate")
    return F.avg_pool2d(around, (2 * down + 1, 2 * right + 1), 1)
