"""The share of each layer in each pixel, given the image: the layers' weights are a prior."""

import torch
from jaxtyping import Float
from torch import Tensor

from astseg.model.label_rule.color_histograms import color_bins, histogram_gains
from astseg.model.label_rule.mean_field import mean_field_smoothing, neighbor_affinities
from astseg.model.label_rule.settings import LabelRule
from astseg.model.label_rule.shades import nearest_shade
from astseg.model.label_rule.slot_dropping import drop_shadow_slots, drop_small_slots
from astseg.model.label_rule.slot_merging import merge_duplicate_slots
from astseg.model.rendering import Rendering

NUM_HISTOGRAM_STEPS = 2  # a third changes scores by less than 0.2


def posterior_weights(
    rendering: Rendering,
    images: Float[Tensor, "batch 3 height width"],
    rule: LabelRule,
    residuals: Float[Tensor, "batch directions height width"] | None = None,
) -> Float[Tensor, "batch layers height width"]:
    """Return the share of each layer in each pixel, given the images.

    Args:
        rendering: the reconstruction of the images; for a model of colors, on their real backgrounds.
        images: the images, in [0, 1].
        rule: the weight of errors and neighbors, and the limits for merging and dropping slots.
        residuals: their fine ground residuals, for a model of slow features: errors are distances between these.

    Returns:
        Weights that sum to one over the layers.
    """
    affinities = neighbor_affinities(images, rule.likeness)
    background_error = background_errors(rendering, images, rule, residuals)
    object_errors = _object_errors(rendering, images, rule, residuals)
    penalties = torch.cat(
        (rule.background_error * background_error + rule.background_margin, rule.object_error * object_errors), 1
    )
    log_weights = rendering.weights.clamp(min=torch.finfo(images.dtype).tiny).log() - penalties
    weights = mean_field_smoothing(log_weights, affinities, rule.neighbor_pull)
    if rule.histogram_pull:
        bins = color_bins(images)
        for _ in range(NUM_HISTOGRAM_STEPS):
            gains = histogram_gains(weights, bins, rule)
            weights = mean_field_smoothing(log_weights + gains, affinities, rule.neighbor_pull)
    if not rule.split_parts:  # else each part is judged once it is separated (`separate_parts`)
        weights = drop_shadow_slots(weights, background_error, rule.background_likeness)
    # Between textures, an edge of colors parts nothing: touching is enough.
    maps, links = (images, affinities) if residuals is None else (residuals, None)
    weights = merge_duplicate_slots(weights, maps, links, rule.duplicate_likeness, rule.border_exponent)
    return drop_small_slots(weights, rule.min_pixels)


def background_errors(
    rendering: Rendering,
    images: Float[Tensor, "batch 3 height width"],
    rule: LabelRule,
    residuals: Float[Tensor, "batch directions height width"] | None,
) -> Float[Tensor, "batch 1 height width"]:
    """Return the L1 distance of each pixel's color from the background's; with slow features, its residual's length.

    The pixel is compared with the nearest shade of the background, up to ``rule.max_shade``, so that a shadow which no
    object has learned to cast stays background.
    """
    error: Tensor
    if residuals is not None:
        error = residuals.norm(dim=1, keepdim=True)
        return error
    error = (images - nearest_shade(images, rendering.background, rule.max_shade)).abs().sum(1, keepdim=True)
    return error


def _object_errors(
    rendering: Rendering,
    images: Float[Tensor, "batch 3 height width"],
    rule: LabelRule,
    residuals: Float[Tensor, "batch directions height width"] | None,
) -> Float[Tensor, "batch slots height width"]:
    """Return the L1 distance of each pixel's color from each object's; with slow features, the Euclidean distance.

    If errors do not decide between objects (``rule.between_objects``), all objects get the mean of theirs, weighted by
    the slots' weights.
    """
    errors: Tensor
    if residuals is None:
        errors = (images[:, None] - rendering.layers).abs().sum(2)
    else:
        assert rendering.vectors is not None
        errors = (residuals[:, None] - rendering.vectors[..., None, None]).norm(dim=2)
    if rule.between_objects:
        return errors
    weights = rendering.weights[:, 1:]
    shares = weights / weights.sum(1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
    return (shares * errors).sum(1, keepdim=True).expand_as(weights)
