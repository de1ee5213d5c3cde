"""The rule for labels from the first step to the last, at the model's own size."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from astseg.model.label_rule.foreground import foreground_weights
from astseg.model.label_rule.foreground_pieces import explain_foreground
from astseg.model.label_rule.mean_field import neighbor_affinities
from astseg.model.label_rule.posterior import background_errors, posterior_weights
from astseg.model.label_rule.settings import NO_NOISE, LabelRule
from astseg.model.label_rule.slot_division import chromaticities, divide_slots
from astseg.model.label_rule.slot_dropping import drop_shadow_slots, drop_small_slots
from astseg.model.label_rule.slot_merging import merge_duplicate_slots
from astseg.model.label_rule.slot_parts import split_parts
from astseg.model.layer_owners import layer_owners
from astseg.model.rendering import Rendering


def apply_label_rule(
    rendering: Rendering,
    images: Float[Tensor, "batch 3 height width"],
    rule: LabelRule,
    residuals: Float[Tensor, "batch directions height width"] | None = None,
    noise: Float[Tensor, "height width"] | None = None,
) -> tuple[Float[Tensor, "batch layers height width"], Int64[Tensor, "batch slots"]]:
    """Return the share of each layer in each pixel, and the source of each slot: the slot whose pixels it now holds.

    A slot that was divided is the source of several. Latents go with the pixels: each slot takes those of its source.

    Args:
        rendering: the reconstruction of the images; for a model of colors, on their real backgrounds.
        images: the images, in [0, 1].
        rule: the rule.
        residuals: their fine ground residuals, for a model of slow features.
        noise: the noise of a static background; 1 everywhere until it is measured.

    Raises:
        ValueError: the rule asks for noise, and there is none.
    """
    weights = posterior_weights(rendering, images, rule, residuals)
    source_slots = torch.arange(weights.shape[1] - 1, device=weights.device).expand(weights.shape[0], -1)
    if rule.division_likeness:
        weights, source_slots = divide_shared_slots(weights, images, rule, residuals)
    if rule.noise_multiple:
        if noise is None:
            raise ValueError(NO_NOISE)
        if bool((noise < 1).any()):  # it has been measured
            owned = layer_owners(weights) > 0
            foreground = foreground_weights(images, rendering.background, noise, rule, expected=owned)
            weights = explain_foreground(weights, foreground)
            if not rule.split_parts:  # which drops small parts
                weights = drop_small_slots(weights, rule.min_pixels)
    if rule.split_parts:
        weights, parts_of = separate_parts(weights, rendering, images, rule, residuals)
        source_slots = source_slots.gather(1, parts_of)
    return weights, source_slots


def divide_shared_slots(
    weights: Float[Tensor, "batch layers height width"],
    images: Float[Tensor, "batch 3 height width"],
    rule: LabelRule,
    residuals: Float[Tensor, "batch directions height width"] | None = None,
) -> tuple[Float[Tensor, "batch layers height width"], Int64[Tensor, "batch slots"]]:
    """Divide the slots that hold two objects, and merge the halves that belong to another slot's object.

    Args:
        weights: what `posterior_weights` returns for the same images, rule and residuals.
        images: the images, in [0, 1].
        rule: what two halves, and two slots, must have in common to show the same object.
        residuals: their fine ground residuals, for a model of slow features.

    Returns:
        Weights that sum to one over the layers, and the source of each slot (`divide_slots`).
    """
    if residuals is None:
        # The sides of one object differ in light, but hardly in chromaticity.
        halves_by, maps, links = chromaticities(images), images, neighbor_affinities(images, rule.likeness)
    else:
        halves_by, maps, links = residuals, residuals, None
    weights, source_slots = divide_slots(
        weights, halves_by, rule.division_likeness, rule.border_exponent, rule.min_pixels
    )
    return merge_duplicate_slots(weights, maps, links, rule.duplicate_likeness, rule.border_exponent), source_slots


def separate_parts(
    weights: Float[Tensor, "batch layers height width"],
    rendering: Rendering,
    images: Float[Tensor, "batch 3 height width"],
    rule: LabelRule,
    residuals: Float[Tensor, "batch directions height width"] | None = None,
) -> tuple[Float[Tensor, "batch layers height width"], Int64[Tensor, "batch slots"]]:
    """Give the parts of a slot that do not touch to slots of their own, and drop parts that only show the background.

    Args:
        weights: weights that sum to one over the layers, of the same images.
        rendering: the reconstruction of the images; for a model of colors, on their real backgrounds.
        images: the images, in [0, 1].
        rule: how large and how unlike the background a part must be.
        residuals: their fine ground residuals, for a model of slow features.

    Returns:
        Weights that sum to one over the layers, and the source of each slot (`split_parts`).
    """
    weights, source_slots = split_parts(weights, rule.min_pixels)
    if rule.background_likeness:
        background_error = background_errors(rendering, images, rule, residuals)
        weights = drop_shadow_slots(weights, background_error, rule.background_likeness)
    return weights, source_slots
