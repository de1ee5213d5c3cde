"""Assignment of pixels to layers by their colors and their neighbors. Not in the paper.

The paper assigns each pixel to the layer with the largest weight. These weights depend on the pixels only through the
few values of the appearance, so corners are rounded and masks a pixel too small. Here the weights are a prior. Each
layer's likelihood falls with its reconstruction error at the pixel, as in a mixture of Laplace distributions, and
neighboring pixels of similar colors prefer the same layer, as in a Potts model with weaker links across image edges.
The colors that each layer owns by then, as a histogram, correct the rims, as in GrabCut (Rother et al., 2004). Touching
slots of the same color without an edge between them are merged: they have found the same object twice. Slots that only
show the background in another light are dropped. All this happens at the model's size; a larger image's own edges and
colors then decide between the layers that are left.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from scipy import ndimage
from torch import Tensor

from astseg._core.settings_io import check_numbers
from astseg.model.color_histograms import color_bins, color_log_likelihoods
from astseg.model.layer_owners import layer_owners
from astseg.model.rendering import MAX_SHADOW, Rendering
from astseg.model.resizing import resized

NUM_MEAN_FIELD_STEPS = 5  # after three, hardly any label still changes
MAX_SHARPENED_PIXELS = 2**17
"""Weights are sharpened at no larger size and enlarged from there: this takes a tenth of a second on one core."""
MIN_ENLARGED_WEIGHT = 1e-3
"""No layer is ruled out where the weights of a smaller image are enlarged; a tenth or ten times as much changes scores
by less than 0.1."""
NUM_HISTOGRAM_STEPS = 2  # a third changes scores by less than 0.2
NEIGHBOR_OFFSETS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0))


@dataclass(frozen=True)
class LabelRule:
    """How pixels are assigned to layers when an image is segmented.

    Backgrounds are reconstructed more exactly than objects, so their errors count more. For a model of slow features,
    errors are the Euclidean distances of a pixel's ground residual from the slot's vector and, for the background,
    from 0; duplicates are told by the median residuals of touching slots, and no edge parts them.

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
    is a shadow or a background error. 0 drops none, as is right where objects may have the background's color."""
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
    min_pixels: int = 12
    """A slot that would own fewer pixels at the model's size, after merging, is dropped."""
    noise_multiple: float = 0.0
    """With a static background, what differs from it by more than its noise times this, or by half as much where a slot
    is, is divided among the slots, whatever else they own. 0: the slots alone find objects."""
    split_parts: bool = False
    """Whether parts of a slot that do not touch become objects of their own, as long as there are unused slots, and
    parts of fewer pixels than ``min_pixels`` are dropped like slots of so few."""

    def __post_init__(self) -> None:
        check_numbers(self)
        if min(float(getattr(self, field.name)) for field in fields(self)) < 0 or not self.likeness:
            raise ValueError(f"a label rule needs values of at least 0 and a likeness above 0, not {self}")
        if self.max_shade >= 1:
            raise ValueError(f"a label rule needs a max_shade below 1, not {self}")


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
    if residuals is None or rendering.vectors is None:
        background_error, object_errors = _color_errors(rendering, images, rule)
        looks, links = images, affinities
    else:
        background_error, object_errors = _feature_errors(rendering.vectors, residuals)
        # Between textures, an edge of colors parts nothing: touching is enough.
        looks, links = residuals, torch.ones_like(affinities)
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
    weights = drop_shadow_slots(weights, background_error, rule.background_likeness)
    weights = merge_duplicate_slots(weights, looks, links, rule.duplicate_likeness)
    return drop_small_slots(weights, rule.min_pixels)


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


def _color_errors(
    rendering: Rendering, images: Float[Tensor, "batch 3 height width"], rule: LabelRule
) -> tuple[Tensor, Tensor]:
    """Return the L1 distance of each pixel's color from the background's and from each object's.

    The background is compared in the shade that fits the pixel best, between full light and ``rule.max_shade``. A
    shadow that no object has learned to cast therefore stays background.
    """
    background = rendering.background
    brightness = background.square().sum(1, keepdim=True).clamp(min=torch.finfo(background.dtype).eps)
    light = ((images * background).sum(1, keepdim=True) / brightness).clamp(1 - rule.max_shade, 1.0)
    background_error = (images - light * background).abs().sum(1, keepdim=True)
    return background_error, (images[:, None] - rendering.layers).abs().sum(2)


def _feature_errors(
    vectors: Float[Tensor, "batch slots directions"], residuals: Float[Tensor, "batch directions height width"]
) -> tuple[Tensor, Tensor]:
    """Return how far each pixel's slow features are from the ground and from each object's vector (Euclidean)."""
    to_objects = (residuals[:, None] - vectors[..., None, None]).norm(dim=2)
    return residuals.norm(dim=1, keepdim=True), to_objects


def neighbor_affinities(
    images: Float[Tensor, "batch 3 height width"], likeness: float
) -> Float[Tensor, "neighbors batch 1 height width"]:
    """Return the affinity of each pixel to its eight neighbors: 1 for equal colors, near 0 across edges.

    Args:
        images: the images. Affinities to neighbors beyond the border have no meaning and no effect.
        likeness: the L1 distance of two colors at which the affinity has fallen to exp(-1).
    """
    half = len(NEIGHBOR_OFFSETS) // 2
    values = islice(_neighbor_values(images), half)
    affinities = (-torch.stack([(images - each).abs().sum(1, keepdim=True) for each in values]) / likeness).exp()
    # A neighbor has the same affinity to the pixel: in the opposite direction, it is looked up.
    opposite = [list(_neighbor_values(one))[-1 - index] for index, one in enumerate(affinities)]
    return torch.cat((affinities, torch.stack(opposite[::-1])))


def mean_field_smoothing(
    log_weights: Float[Tensor, "batch layers height width"],
    affinities: Float[Tensor, "neighbors batch 1 height width"],
    pull: float,
) -> Float[Tensor, "batch layers height width"]:
    """Return the weights of the layers in the mean field of a Potts model: similar neighbors prefer the same layer.

    Args:
        log_weights: the log-weight of each layer at each pixel without its neighbors, up to a constant.
        affinities: the affinity of each pixel to its neighbors.
        pull: the gain of a layer's log-weight per neighbor of the same color that belongs to it.

    Returns:
        Weights that sum to one over the layers.
    """
    weights = log_weights.softmax(1)
    if not pull:
        return weights
    for _ in range(NUM_MEAN_FIELD_STEPS):
        weights = _weighted_neighbor_sum(weights, affinities).mul_(pull).add_(log_weights).softmax(1)
    return weights


def _weighted_neighbor_sum(maps: Tensor, affinities: Iterable[Tensor]) -> Tensor:
    """Return the sum of each pixel's eight neighbors, weighted by affinity."""
    total = torch.zeros_like(maps)
    for values, affinity in zip(_neighbor_values(maps), affinities, strict=True):
        total.addcmul_(affinity, values)
    return total


def _neighbor_values(maps: Float[Tensor, "batch channels height width"]) -> Iterator[Tensor]:
    """Yield, for each of the eight directions, the value of each pixel's neighbor; 0 beyond the border."""
    height, width = maps.shape[-2:]
    padded = F.pad(maps, (1, 1, 1, 1))
    for down, right in NEIGHBOR_OFFSETS:
        yield padded[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width]


def drop_shadow_slots(
    weights: Float[Tensor, "batch layers height width"],
    background_error: Float[Tensor, "batch 1 height width"],
    background_likeness: float,
) -> Float[Tensor, "batch layers height width"]:
    """Return the weights without the slots that only show a shade of the background.

    Args:
        weights: weights that sum to one over the layers.
        background_error: the L1 distance of each pixel from the best-fitting shade of the background.
        background_likeness: a slot is dropped if the median distance of its pixels is below this. 0 drops none.
    """
    if not background_likeness:
        return weights
    # The median keeps an object whose mask includes its shadow, as long as most pixels are the object's.
    errors = torch.where(slot_masks(weights), background_error, torch.nan).flatten(2).nanmedian(-1).values
    shades = errors < background_likeness  # false for a slot without pixels, whose median is NaN
    return _redistribute(weights, ~F.pad(shades, (1, 0))[..., None, None])


def drop_small_slots(
    weights: Float[Tensor, "batch layers height width"], min_pixels: int
) -> Float[Tensor, "batch layers height width"]:
    """Return the weights without the slots that own fewer than ``min_pixels``."""
    large = slot_masks(weights).sum((2, 3)) >= min_pixels
    return _redistribute(weights, F.pad(large, (1, 0), value=True)[..., None, None])


def slot_masks(weights: Float[Tensor, "batch layers height width"]) -> Bool[Tensor, "batch slots height width"]:
    """Return the pixels that each slot owns: those where its weight is the largest of all layers."""
    slots = torch.arange(1, weights.shape[1], device=weights.device)
    return layer_owners(weights)[:, None] == slots[:, None, None]


def _redistribute(
    weights: Float[Tensor, "batch layers height width"], kept: Bool[Tensor, "batch layers #height #width"]
) -> Float[Tensor, "batch layers height width"]:
    """Return the weights, with those of dropped layers or pixels shared out in proportion among what is kept."""
    # Where no weight is left all become zero, and the first layer then owns the pixel, the background.
    left = weights * kept
    return left / left.sum(1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)


def merge_duplicate_slots(
    weights: Float[Tensor, "batch layers height width"],
    images: Float[Tensor, "batch 3 height width"],
    affinities: Float[Tensor, "neighbors batch 1 height width"],
    duplicate_likeness: float,
) -> Float[Tensor, "batch layers height width"]:
    """Return the weights with slots that share an object merged: the slot with the most pixels gets all their weight.

    Two slots share an object if they touch, have the same color, and no edge runs between them: their median colors
    differ by less than ``duplicate_likeness``, and the mean affinity where they touch is at least a half.

    Args:
        weights: weights that sum to one over the layers.
        images: the images.
        affinities: the affinity of each pixel to its neighbors.
        duplicate_likeness: an L1 distance of colors. 0 merges none.
    """
    if not duplicate_likeness:
        return weights
    owned = slot_masks(weights)
    masks = owned.to(weights.dtype)
    contacts, contact_affinities = (
        torch.einsum("bihw, bjhw -> bij", masks, _weighted_neighbor_sum(masks, strengths))
        for strengths in (torch.ones_like(affinities), affinities)
    )
    # Medians are robust to a few foreign pixels. The median of a slot without pixels is NaN, which is near none.
    colors = torch.where(owned[:, :, None], images[:, None], torch.nan).flatten(3).nanmedian(-1).values
    near = (colors[:, :, None] - colors[:, None]).abs().sum(-1) < duplicate_likeness
    slots = masks.shape[1]
    same = (contacts > 0) & (contact_affinities >= contacts / 2) & near
    connected = (same | torch.eye(slots, dtype=torch.bool, device=near.device)).to(weights.dtype)
    for _ in range(slots.bit_length()):  # the transitive closure, by repeated squaring
        connected = (connected @ connected).clamp(max=1)
    # One is added to the pixel counts, so that a slot without pixels owns itself.
    owner = (connected * (1 + masks.sum((2, 3)))[:, None]).argmax(-1)
    merged = torch.zeros_like(weights[:, 1:]).scatter_add_(1, owner[..., None, None].expand_as(masks), weights[:, 1:])
    return torch.cat((weights[:, :1], merged), 1)


def split_parts(
    weights: Float[Tensor, "batch layers height width"], min_pixels: int
) -> tuple[Float[Tensor, "batch layers height width"], Int64[Tensor, "batch slots"]]:
    """Give the parts of each slot that do not touch to slots of their own, the largest parts first.

    Parts of fewer than ``min_pixels`` go to the other layers; those for which no slot is left stay with their own.

    Args:
        weights: they sum to one over the layers.
        min_pixels: pixels that a part needs.

    Returns:
        The weights, and for each slot the one whose part it now holds: itself, unless it was unused.
    """
    owners = layer_owners(weights).cpu().numpy()
    num_slots = weights.shape[1] - 1
    kept = torch.zeros_like(weights, dtype=torch.bool)
    kept[:, 0] = True
    origins = torch.arange(num_slots).repeat(len(weights), 1)
    moved = weights.clone()
    for index, owner in enumerate(owners):
        parts = []
        for slot in np.unique(owner[owner > 0]).tolist():
            numbered, count = ndimage.label(owner == slot, np.ones((3, 3)))
            parts += [(int((numbered == part).sum()), slot, numbered == part) for part in range(1, count + 1)]
        parts = sorted((part for part in parts if part[0] >= min_pixels), key=lambda part: -part[0])
        used: set[int] = set()
        waiting = []
        for _, slot, mask in parts:  # the largest part of each slot stays with it
            where = torch.from_numpy(mask).to(weights.device)
            if slot in used:
                waiting.append((slot, where))
            else:
                used.add(slot)
                kept[index, slot] = where
        unused = iter(slot for slot in range(1, num_slots + 1) if slot not in used)
        for slot, where in waiting:
            other = next(unused, slot)
            moved[index, other][where] = weights[index, slot][where]
            kept[index, other] |= where
            origins[index, other - 1] = slot - 1
    return _redistribute(moved, kept), origins.to(weights.device)
