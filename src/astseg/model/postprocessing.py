"""Assignment of pixels to layers by their colors and their neighbors. Not in the paper.

The paper assigns each pixel to the layer with the largest weight. These weights depend on the pixels only through the
few values of the appearance, so corners are rounded and masks a pixel too small. Here the weights are a prior. Each
layer's likelihood falls with its reconstruction error at the pixel, as in a mixture of Laplace distributions, and
neighboring pixels of similar colors prefer the same layer, as in a Potts model with weaker links across image edges.
The colors that each layer owns by then, as a histogram, correct the rims, as in GrabCut (Rother et al., 2004). Touching
slots of the same color without an edge between them are merged: they have found the same object twice. Slots that only
show the background in another light are dropped. Slots with two halves that are not alike hold two objects and are
divided. All this happens at the model's size; a larger image's own edges and colors then decide between the layers that
are left.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from astseg._core.settings_io import NOT_NEGATIVE, POSITIVE, SIZE, Range, check_numbers
from astseg.model.color_histograms import color_bins, color_log_likelihoods
from astseg.model.layer_owners import layer_owners
from astseg.model.mean_field import mean_field_smoothing, neighbor_affinities
from astseg.model.rendering import MAX_SHADOW, Rendering
from astseg.model.resizing import resized
from astseg.model.slot_division import divide_slots
from astseg.model.slot_grouping import drop_shadow_slots, drop_small_slots, merge_duplicate_slots, split_parts

MAX_SHARPENED_PIXELS = 2**17
"""Weights are sharpened at no larger size and enlarged from there: this takes a tenth of a second on one core."""
MIN_ENLARGED_WEIGHT = 1e-3
"""No layer is ruled out where the weights of a smaller image are enlarged; a tenth or ten times as much changes scores
by less than 0.1."""
NUM_HISTOGRAM_STEPS = 2  # a third changes scores by less than 0.2


@dataclass(frozen=True)
class LabelRule:
    """How pixels are assigned to layers when an image is segmented.

    Backgrounds are reconstructed more exactly than objects, so their errors count more. For a model of slow features,
    errors are the Euclidean distances of a pixel's ground residual from the slot's vector and, for the background,
    from 0; duplicates and halves are told by their median residuals, and no edge parts them.

    Raises:
        ValueError: a value is negative, the likeness is 0, or the largest shade is 1 or more.
    """

    object_error: float = 4.0
    """The penalty on an object's log-weight per unit of its L1 error (0 to 3, equation 19)."""
    between_objects: bool = True
    """Whether errors and histograms also decide between objects. If not, all objects get the mean of their errors, by
    weight, and one histogram, so that an object shared by several slots is not split by their colors."""
    background_error: float = 25.0
    """The penalty on the background's log-weight per unit of the L1 error of its best-fitting shade."""
    background_margin: float = 0.0
    """A constant penalty on the background's log-weight. It gives objects the pixels that they share with the
    background at their rims, and shadows too."""
    max_shade: float = MAX_SHADOW
    """The largest share of its light that the background may lose and still count as background, below 1. A larger
    share mistakes fewer shadows for objects, but more dark objects for shadows."""
    background_likeness: float = 0.0
    """A slot whose pixels have a median L1 distance below this from the nearest shade of the background is dropped: it
    is a shadow or a background error. 0 drops none, as is right where objects may have the background's color. With
    slow features it is the length of their bounded residual from the ground, below 1. If slots are split into parts,
    each part is asked."""
    neighbor_pull: float = 4.0
    """The gain of a layer's log-weight per neighbor (of eight) that has the same color and belongs to the layer."""
    likeness: float = 0.1
    """The L1 distance of two colors at which a neighbor's pull has fallen to exp(-1)."""
    histogram_pull: float = 1.0
    """The gain of a layer's log-weight per unit of the log-likelihood of the pixel's color among the pixels that the
    layer owns already. It finds the rims of objects that have a pattern, or many colors."""
    duplicate_likeness: float = 0.15
    """Two touching slots whose median colors have an L1 distance below this, with no edge between them, are merged into
    one. 0 merges none."""
    division_likeness: float = 0.0
    """A slot is divided, as long as there are unused ones, if it has two halves whose median colors have an L1 distance
    of at least this: it holds two objects. Then slots are merged again. 0 divides none."""
    border_exponent: float = 0.0
    """Both distances are multiplied by this power of the part of their borders that the two slots, or halves, have in
    common (`slot_grouping.alike_slots`). 0: touching is enough."""
    min_pixels: int = 12
    """A slot that would own fewer pixels at the model's size, after merging, is dropped."""
    noise_multiple: float = 0.0
    """With a static background, what differs from it by more than its noise times this, or by half as much where a slot
    is, is divided among the slots, whatever else they own. 0: the slots alone find objects."""
    split_parts: bool = False
    """Whether parts of a slot that do not touch become objects of their own, as long as there are unused slots, and
    parts of fewer pixels than ``min_pixels`` are dropped like slots of so few, in larger images once more."""

    looks: int = 1
    """How often the network looks at an image. From the second time on it sees the background in place of what it has
    found, and nearby: slots that are still unused take what it finds then, which the others outshone."""

    def __post_init__(self) -> None:
        ranges = {field.name: NOT_NEGATIVE for field in fields(self)}
        check_numbers(self, **ranges | {"likeness": POSITIVE, "max_shade": Range(0, below=1), "looks": SIZE})


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
    background_error = _background_error(rendering, images, rule, residuals)
    object_errors = _object_errors(rendering, images, residuals)
    if not rule.between_objects:
        weights = rendering.weights[:, 1:]
        shares = weights / weights.sum(1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
        object_errors = (shares * object_errors).sum(1, keepdim=True).expand_as(weights)
    penalties = torch.cat(
        (rule.background_error * background_error + rule.background_margin, rule.object_error * object_errors), 1
    )
    log_weights = rendering.weights.clamp(min=torch.finfo(images.dtype).tiny).log() - penalties
    weights = mean_field_smoothing(log_weights, affinities, rule.neighbor_pull)
    if rule.histogram_pull:
        bins = color_bins(images)
        for _ in range(NUM_HISTOGRAM_STEPS):
            gains = _histogram_gains(weights, bins, rule)
            weights = mean_field_smoothing(log_weights + gains, affinities, rule.neighbor_pull)
    if not rule.split_parts:  # else its parts are asked
        weights = drop_shadow_slots(weights, background_error, rule.background_likeness)
    # Between textures, an edge of colors parts nothing: touching is enough.
    maps, links = (images, affinities) if residuals is None else (residuals, None)
    weights = merge_duplicate_slots(weights, maps, links, rule.duplicate_likeness, rule.border_exponent)
    return drop_small_slots(weights, rule.min_pixels)


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
        Weights that sum to one over the layers, and for each slot the one whose pixels it now holds.
    """
    maps = images if residuals is None else residuals
    links = neighbor_affinities(images, rule.likeness) if residuals is None else None
    weights, origins = divide_slots(weights, maps, rule.division_likeness, rule.border_exponent, rule.min_pixels)
    return merge_duplicate_slots(weights, maps, links, rule.duplicate_likeness, rule.border_exponent), origins


def separate_parts(
    weights: Float[Tensor, "batch layers height width"],
    rendering: Rendering,
    images: Float[Tensor, "batch 3 height width"],
    rule: LabelRule,
    residuals: Float[Tensor, "batch directions height width"] | None = None,
) -> tuple[Float[Tensor, "batch layers height width"], Int64[Tensor, "batch slots"]]:
    """Give the parts of a slot that do not touch to slots of their own, without those that only show the background.

    Args:
        weights: weights that sum to one over the layers, of the same images.
        rendering: as for `posterior_weights`.
        images: the images, in [0, 1].
        rule: how large and how unlike the background a part must be.
        residuals: their fine ground residuals, for a model of slow features.

    Returns:
        Weights that sum to one over the layers, and for each slot the one whose part it now holds.
    """
    weights, origins = split_parts(weights, rule.min_pixels)
    if rule.background_likeness:
        background_error = _background_error(rendering, images, rule, residuals)
        weights = drop_shadow_slots(weights, background_error, rule.background_likeness)
    return weights, origins


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
        `MAX_SHARPENED_PIXELS`.
    """
    height, width = images.shape[-2:]
    shrinkage = min(1.0, (MAX_SHARPENED_PIXELS / (height * width)) ** 0.5)
    size = max(1, round(height * shrinkage)), max(1, round(width * shrinkage))
    images, enlarged = resized(images.to(weights.dtype), size), resized(weights, size)
    log_weights = enlarged.clamp(min=MIN_ENLARGED_WEIGHT).log()
    if rule.histogram_pull:
        log_weights = log_weights + _histogram_gains(enlarged, color_bins(images), rule)
    return mean_field_smoothing(log_weights, neighbor_affinities(images, rule.likeness), rule.neighbor_pull)


def _histogram_gains(
    weights: Float[Tensor, "batch layers height width"], bins: Int64[Tensor, "batch height width"], rule: LabelRule
) -> Float[Tensor, "batch layers height width"]:
    """Return what the colors that each layer owns add to its log-weights."""
    if not rule.between_objects:
        background = (layer_owners(weights)[:, None] == 0).to(weights.dtype)
        pair = torch.cat((background, 1 - background), 1)
        behind, before = torch.split(color_log_likelihoods(pair, bins), 1, 1)
        return rule.histogram_pull * torch.cat((behind, before.expand(-1, weights.shape[1] - 1, -1, -1)), 1)
    return rule.histogram_pull * color_log_likelihoods(weights, bins)


def _background_error(
    rendering: Rendering,
    images: Float[Tensor, "batch 3 height width"],
    rule: LabelRule,
    residuals: Float[Tensor, "batch directions height width"] | None,
) -> Float[Tensor, "batch 1 height width"]:
    """Return the L1 distance of each pixel's color from the background's; with slow features, that from the ground.

    The background is compared in the shade that fits the pixel best, between full light and ``rule.max_shade``. A
    shadow that no object has learned to cast therefore stays background.
    """
    error: Tensor
    if residuals is not None:
        error = residuals.norm(dim=1, keepdim=True)
        return error
    background = rendering.background
    brightness = background.square().sum(1, keepdim=True).clamp(min=torch.finfo(background.dtype).eps)
    light = ((images * background).sum(1, keepdim=True) / brightness).clamp(1 - rule.max_shade, 1.0)
    error = (images - light * background).abs().sum(1, keepdim=True)
    return error


def _object_errors(
    rendering: Rendering,
    images: Float[Tensor, "batch 3 height width"],
    residuals: Float[Tensor, "batch directions height width"] | None,
) -> Float[Tensor, "batch slots height width"]:
    """Return the L1 distance of each pixel's color from each object's; with slow features, the Euclidean of these."""
    errors: Tensor
    if residuals is None:
        errors = (images[:, None] - rendering.layers).abs().sum(2)
    else:
        assert rendering.vectors is not None
        errors = (residuals[:, None] - rendering.vectors[..., None, None]).norm(dim=2)
    return errors
