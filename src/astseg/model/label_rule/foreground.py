"""What is foreground before a background whose noise is known. Not in the paper."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from astseg.model.backgrounds.noise import background_distance
from astseg.model.label_rule.enlarging import majority_weights
from astseg.model.label_rule.mean_field import mean_field_smoothing, neighbor_affinities
from astseg.model.label_rule.settings import LabelRule
from astseg.model.label_rule.shades import nearest_shade
from astseg.model.label_rule.sharpening import sharpen_weights
from astseg.model.resizing import enlarged_argmax

NOISE_MULTIPLE = 7.0
"""A pixel is foreground, before its neighbors count, if its distance from the background exceeds its noise times
this."""


def foreground_weights(
    images: Float[Tensor, "batch 3 height width"],
    backgrounds: Float[Tensor, "batch 3 height width"],
    noise: Float[Tensor, "height width"],
    rule: LabelRule,
    expected: Bool[Tensor, "batch height width"] | None = None,
) -> Float[Tensor, "batch layers=2 height width"]:
    """Return how likely each pixel is background and foreground, by its distance from the background.

    Not in the paper. The threshold T is the noise times ``rule.noise_multiple``. A pixel at distance d from the
    background has log-odds of 2 (d / T - 1) for foreground: 0 at T, and -2 where it equals the background. If
    ``rule.noise_shade`` allows shades of the background, the distance is that from the nearest one. Mean-field
    smoothing then makes neighbors of similar colors agree, as strongly as the rule says: a car's windows, which look
    like the road, join the car, and specks join their surroundings.

    Args:
        images: images in [0, 1], as the network saw them.
        backgrounds: the network's reconstructions of their backgrounds.
        noise: the result of `noise_from_distances`.
        rule: how many times the noise a pixel must differ, and the pull of its neighbors.
        expected: pixels in which foreground is expected; for them the threshold is half as high.

    Returns:
        Weights of background and foreground, which sum to one.
    """
    if rule.noise_shade:
        backgrounds = nearest_shade(images, backgrounds, rule.noise_shade)
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

    In larger originals, their edges and colors decide the rims (`sharpen_weights`). Each pixel of the mask then follows
    the majority of those around it, within a pixel of the image that the network saw.

    Args:
        images: images in [0, 1], as the network saw them.
        backgrounds: the network's reconstructions of their backgrounds.
        noise: the result of `noise_from_distances`.
        originals: the images at the size of the masks; by default the images that the network saw.
    """
    rule = LabelRule(noise_multiple=NOISE_MULTIPLE)
    weights = foreground_weights(images, backgrounds, noise, rule)
    if originals is None:
        originals = images
    size = originals.shape[-2:]
    if size.numel() > noise.numel():
        weights = majority_weights(sharpen_weights(weights, originals, rule), noise.shape)
    return torch.stack([enlarged_argmax(layers, size) for layers in weights]).bool()
