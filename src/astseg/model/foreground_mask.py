"""Which pixels are foreground, told by the background alone: AE-NE's rule, and one that measures the noise.

AE-NE's network predicts its own error, and a pixel is foreground beyond seven times that. After the published schedule
the prediction is right. After a minute it is still many times too large, and next to nothing is foreground. The other
rule asks the images instead: how far they lie from what the network paints, where no object is. Not in the paper.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor

from astseg.model.backgrounds.base import BackgroundReconstruction
from astseg.model.postprocessing import LabelRule, mean_field_smoothing, neighbor_affinities
from astseg.model.resizing import resized

NOISE_MULTIPLE = 6.0
"""How many times its noise a pixel must be from the background to be foreground, where its neighbors say nothing."""
CLIPPING_MULTIPLE = 3.0
"""Distances of more than this many times the noise are objects', and do not count when it is measured again."""
CLIPPING_ROUNDS = 5
MEDIAN_ABS_NORMAL = 0.6745
"""The median of |z| of a normal variable: medians divided by it are standard deviations."""
MIN_NOISE = 1 / 255
"""One step of 8 bits: images are no more exact than that."""
MIN_IMAGES_PER_PIXEL_ESTIMATE = 10
"""With fewer images an object may be in most of them at a pixel, and all pixels get one noise."""


def ae_ne_foreground_mask(
    images: Float[Tensor, "batch 3 height width"],
    reconstruction: BackgroundReconstruction,
    size: tuple[int, int] | None = None,
) -> Bool[Tensor, "batch mask_height mask_width"]:
    """Return the pixels that the background network alone takes for foreground (AE-NE).

    A pixel is foreground where it is further from the background than seven times the error that the network
    expects of itself there. Masks of 400 pixels a side and more are cleaned by a closing and an opening.

    Args:
        images: images in [0, 1], as the network saw them.
        reconstruction: what it painted.
        size: height and width of the masks, by default the images'. Where images were made smaller for the network
            it is what they had before: beside themselves, a background made larger would lack all that is fine.
    """
    distance = 255 * (images - reconstruction.image).abs().mean(1)
    excess = 3 * F.relu(distance - 7 * 255 * reconstruction.error[:, 0])
    threshold = 96 * reconstruction.image.mean((1, 2, 3))
    beyond = excess - threshold[:, None, None]
    mask = resized(beyond[:, None], size or images.shape[-2:])[:, 0] > 0
    if max(mask.shape[-2:]) < 400:
        return mask
    cleaned = [_close_and_open(single) for single in mask]
    return torch.stack(cleaned)


def _close_and_open(mask: Bool[Tensor, "height width"]) -> Bool[Tensor, "height width"]:
    # Closed and opened beyond the border as if the image went on as its edge does, so that edges are kept.
    margin = 10  # more than the two filters reach together
    padded = F.pad(mask[None, None].float(), [margin] * 4, mode="replicate")[0, 0].bool().cpu().numpy()
    closed = ndimage.binary_closing(padded, structure=torch.ones(5, 5).numpy())
    opened = ndimage.binary_opening(closed, structure=torch.ones(7, 7).numpy())
    return torch.from_numpy(opened[margin:-margin, margin:-margin].copy()).to(mask.device)


def background_distance(
    images: Float[Tensor, "batch 3 height width"], backgrounds: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch height width"]:
    """Return how far each pixel is from the background: the mean of its channels' distances, from 0 to 1."""
    return (images - backgrounds).abs().mean(1)


def background_noise(distances: Float[Tensor, "count height width"]) -> Float[Tensor, "height width"]:
    """Measure how far pixels that show background lie from what the network paints. Not in the paper.

    At each pixel it is the median of its distances over many images, as a standard deviation. Objects enlarge that a
    little even where they pass seldom, so distances beyond three times as much are left out and the rest is measured
    again (sigma clipping). Where an object stands often, or the background is wrong at times, a pixel's own noise is
    still too large: the result is the geometric mean of it and of the median of all pixels.

    Args:
        distances: of images that the network learned from, by `background_distance`.

    Returns:
        On the scale of a standard deviation, in the units of the distances; at least a step of 8 bits.
    """
    # Row by row: the median needs several times the memory of what it is taken of.
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


def noise_foreground_mask(
    images: Float[Tensor, "batch 3 height width"],
    backgrounds: Float[Tensor, "batch 3 height width"],
    noise: Float[Tensor, "height width"],
    size: tuple[int, int] | None = None,
) -> Bool[Tensor, "batch mask_height mask_width"]:
    """Find the pixels that are further from the background than its noise explains. Not in the paper.

    With T six times the noise, a pixel at distance d has log-odds of 2 (d / T - 1) for foreground: none at T, and -2
    where it is just as the background. Pixels of like colors then draw each other to one side, as the rule for labels
    has it and as strongly: a car's windows, through which the road seems to show, go with the car, and specks with
    what surrounds them.

    Args:
        images: in [0, 1], as the network saw them.
        backgrounds: what it painted.
        noise: by `background_noise`.
        size: height and width of the masks, by default the images'.
    """
    threshold = NOISE_MULTIPLE * noise
    log_odds = 2 * (background_distance(images, backgrounds) / threshold - 1)
    undecided = torch.stack((-log_odds / 2, log_odds / 2), 1)
    alike = neighbor_affinities(images, LabelRule.likeness)
    weights = mean_field_smoothing(undecided, alike, LabelRule.neighbor_pull)
    background, foreground = torch.split(weights, 1, 1)
    return resized(foreground - background, size or images.shape[-2:])[:, 0] > 0
