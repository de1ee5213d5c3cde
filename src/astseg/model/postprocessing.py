"""Giving pixels to layers by what the pixels show and what their neighbors say. Not in the paper.

The paper gives each pixel to the layer with the largest weight, and the weights know a pixel's colors only through a
few numbers of appearance: corners are round and rims a pixel too narrow. Here the weights are what is expected before
a look at the pixels. Each layer's error at a pixel is held against it, as in a mixture of Laplace distributions, and
pixels of like colors draw each other to the same layer, as in a Potts model whose pull ends at edges of the image.
Slots whose pixels have one color, and no edge between them, have found the same object twice, and a slot whose pixels
are the background in another light has found none.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from astseg.model.rendering import MAX_SHADOW, Rendering

ROUNDS = 5  # of asking the neighbors; after three, next to no label changes any more
NEIGHBORS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0))


@dataclass(frozen=True)
class LabelRule:
    """How pixels are given to layers when an image is segmented.

    Backgrounds are painted more exactly than objects, so their errors say more.

    Raises:
        ValueError: a value is negative, or no two colors would be alike.
    """

    object_error: float = 4.0
    """What an object's log-weight loses for each unit of its L1 error (0 to 3, equation 19)."""
    between_objects: bool = True
    """Whether objects' errors also decide between objects. Else each is charged the mean of all by their weights: an
    object that several slots share does not break up into the colors of each."""
    background_error: float = 25.0
    """The same for the background, whose error is that of the shade of it that fits best."""
    background_margin: float = 0.0
    """What the background's log-weight loses in any case. It wins pixels that the background shares with an object's
    rim, and shadows with them."""
    max_shade: float = MAX_SHADOW
    """The share of its light that the background may lack and still count as background, below 1: the more, the fewer
    shadows are taken for objects, and the more dark objects for shadows."""
    background_likeness: float = 0.0
    """The L1 distance from the nearest shade of the background below which a slot's median pixel shows that the slot is
    no object but a shadow, or what else the background could not paint. 0 asks none, as it must be where objects may
    have the background's color."""
    neighbor_pull: float = 4.0
    """What a layer's log-weight gains where one of the eight neighbors has the same color and belongs to it."""
    likeness: float = 0.1
    """The L1 distance of two colors at which a neighbor's pull has fallen to exp(-1)."""
    duplicate_likeness: float = 0.15
    """The L1 distance of two touching slots' median colors below which they are one object, unless an edge parts
    them: then one slot owns both. 0 joins none."""
    min_pixels: int = 12
    """A slot that would own fewer pixels of the model's size, its doubles' with them, owns none: crumbs are no
    objects."""

    def __post_init__(self) -> None:
        if min(float(getattr(self, field.name)) for field in fields(self)) < 0 or not self.likeness:
            raise ValueError(f"a rule for labels has no negative values, and a likeness above 0: {self}")
        if self.max_shade >= 1:
            raise ValueError(f"a shade takes less than all light: {self}")


def posterior_weights(
    rendering: Rendering,
    images: Float[Tensor, "batch 3 height width"],
    rule: LabelRule,
    residuals: Float[Tensor, "batch directions height width"] | None = None,
) -> Float[Tensor, "batch layers height width"]:
    """Return the share of each layer in each pixel once the pixels themselves have been looked at.

    Args:
        rendering: what the images were put together from; for a model of colors, on their real backgrounds.
        images: the images, in [0, 1].
        rule: how much errors and neighbors say, and how small an object may be.
        residuals: their fine ground residuals, for a model of slow features: errors are distances between these.

    Returns:
        Weights that sum to one over the layers.
    """
    if residuals is None or rendering.vectors is None:
        background_error, object_errors = _color_errors(rendering, images, rule)
        looks = images
    else:
        background_error, object_errors = _feature_errors(rendering.vectors, residuals)
        looks = residuals
    if not rule.between_objects:
        weights = rendering.weights[:, 1:]
        shares = weights / weights.sum(1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
        object_errors = (shares * object_errors).sum(1, keepdim=True).expand_as(weights)
    against = torch.cat(
        (rule.background_error * background_error + rule.background_margin, rule.object_error * object_errors), 1
    )
    log_weights = rendering.weights.clamp(min=torch.finfo(images.dtype).tiny).log()
    alike = neighbor_affinities(images, rule.likeness)
    agreed = mean_field_smoothing(log_weights - against, alike, rule.neighbor_pull)
    real = drop_shadow_slots(agreed, background_error, rule.background_likeness)
    joined = merge_duplicate_slots(real, looks, alike, rule.duplicate_likeness)
    return drop_small_slots(joined, rule.min_pixels)


def _color_errors(
    rendering: Rendering, images: Float[Tensor, "batch 3 height width"], rule: LabelRule
) -> tuple[Tensor, Tensor]:
    """Return how far each pixel is from the background's color and from each object's, by the L1 distance.

    A pixel counts as background when it shows *some shade* of it: the factor, down to that of the deepest shade, under
    which the background comes nearest. A shadow that no object has learned to throw stays with the background.
    """
    background = rendering.background
    brightness = background.square().sum(1, keepdim=True).clamp(min=torch.finfo(background.dtype).eps)
    light = ((images * background).sum(1, keepdim=True) / brightness).clamp(1 - rule.max_shade, 1)
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
    """Return how like each pixel's eight neighbors are to it: 1 where colors are the same, near 0 across edges.

    Args:
        images: the images. Beyond their borders there is nothing that could be asked, whatever it is like.
        likeness: the L1 distance of two colors at which the likeness has fallen to exp(-1).
    """
    distances = torch.stack([(images - seen).abs().sum(1, keepdim=True) for seen in _neighbors(images)])
    return (-distances / likeness).exp()


def mean_field_smoothing(
    log_weights: Float[Tensor, "batch layers height width"],
    alike: Float[Tensor, "neighbors batch 1 height width"],
    pull: float,
) -> Float[Tensor, "batch layers height width"]:
    """Let pixels of like colors draw each other to the same layer: the mean field of a Potts model.

    Args:
        log_weights: what speaks for each layer at each pixel by itself; any constant may be added.
        alike: how like its neighbors are to each pixel.
        pull: what a layer gains where a neighbor of the same color belongs to it.

    Returns:
        Weights that sum to one over the layers.
    """
    weights = log_weights.softmax(1)
    if not pull:
        return weights
    for _ in range(ROUNDS):
        weights = (log_weights + pull * _sum_of_neighbors(weights, alike)).softmax(1)
    return weights


def _sum_of_neighbors(maps: Tensor, alike: Iterable[Tensor]) -> Tensor:
    """At each pixel the sum of its eight neighbors, each as much as it is alike."""
    total = torch.zeros_like(maps)
    for seen, strength in zip(_neighbors(maps), alike, strict=True):
        total.addcmul_(strength, seen)
    return total


def _neighbors(maps: Float[Tensor, "batch channels height width"]) -> Iterator[Tensor]:
    """For each of the eight directions, what each pixel sees there; beyond the borders there is nothing."""
    height, width = maps.shape[-2:]
    padded = F.pad(maps, (1, 1, 1, 1))
    for down, right in NEIGHBORS:
        yield padded[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width]


def drop_shadow_slots(
    weights: Float[Tensor, "batch layers height width"],
    background_error: Float[Tensor, "batch 1 height width"],
    background_likeness: float,
) -> Float[Tensor, "batch layers height width"]:
    """Return the weights without the slots that show nothing but a shade of the background.

    The others share what these had.

    Args:
        weights: they sum to one over the layers.
        background_error: the L1 distance of each pixel from the shade of the background that fits best.
        background_likeness: a slot goes if the median of its pixels' distances is below this. 0 lets all stay.
    """
    if not background_likeness:
        return weights
    # Of an object half hidden in its own shadow most pixels are the object's, and the median asks them.
    errors = torch.where(_owned(weights), background_error, torch.nan).flatten(2).nanmedian(-1).values
    shades = errors < background_likeness  # a slot without pixels has no median, and is none
    return _shared(weights, ~F.pad(shades, (1, 0)))


def drop_small_slots(
    weights: Float[Tensor, "batch layers height width"], min_pixels: int
) -> Float[Tensor, "batch layers height width"]:
    """Return the weights without the slots that would own too few pixels; the others share what these had."""
    return _shared(weights, F.pad(_owned(weights).sum((2, 3)) >= min_pixels, (1, 0), value=True))


def _owned(weights: Float[Tensor, "batch layers height width"]) -> Bool[Tensor, "batch slots height width"]:
    """Return which pixels each slot owns: those in which its weight is the largest of all layers."""
    slots = torch.arange(1, weights.shape[1], device=weights.device)
    return weights.argmax(1, keepdim=True) == slots[:, None, None]


def _shared(
    weights: Float[Tensor, "batch layers height width"], kept: Bool[Tensor, "batch layers"]
) -> Float[Tensor, "batch layers height width"]:
    """Return the weights of the layers that are kept, which share what the others had."""
    # Where nothing is left to divide, everything becomes zero, and the background comes first among equals.
    left = weights * kept[..., None, None]
    return left / left.sum(1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)


def merge_duplicate_slots(
    weights: Float[Tensor, "batch layers height width"],
    images: Float[Tensor, "batch 3 height width"],
    alike: Float[Tensor, "neighbors batch 1 height width"],
    duplicate_likeness: float,
) -> Float[Tensor, "batch layers height width"]:
    """Return the weights with slots that share an object joined: the one that owns most pixels gets all that they have.

    Two slots share an object where they touch, show the same color, and no edge runs between them: their pixels'
    median colors differ by less than ``duplicate_likeness``, and where they touch the two sides are half alike.

    Args:
        weights: they sum to one over the layers.
        images: the images.
        alike: how like its neighbors are to each pixel.
        duplicate_likeness: an L1 distance of colors. 0 joins none.
    """
    if not duplicate_likeness:
        return weights
    owned = _owned(weights)
    masks = owned.to(weights.dtype)
    contacts, unparted = (
        torch.einsum("bihw, bjhw -> bij", masks, _sum_of_neighbors(masks, strength))
        for strength in (torch.ones_like(alike), alike)
    )
    # A few pixels of something else do not move the median. A slot without pixels has none and is near nobody.
    colors = torch.where(owned[:, :, None], images[:, None], torch.nan).flatten(3).nanmedian(-1).values
    near = (colors[:, :, None] - colors[:, None]).abs().sum(-1) < duplicate_likeness
    slots = masks.shape[1]
    same = (contacts > 0) & (unparted >= contacts / 2) & near | torch.eye(slots, dtype=torch.bool, device=near.device)
    reached = same.to(weights.dtype)
    for _ in range(slots.bit_length()):  # a double of a double is a double
        reached = (reached @ reached).clamp(max=1)
    # One more than its pixels, so that a slot without any is its own.
    owner = (reached * (1 + masks.sum((2, 3)))[:, None]).argmax(-1)
    joined = torch.zeros_like(weights[:, 1:]).scatter_add_(1, owner[..., None, None].expand_as(masks), weights[:, 1:])
    return torch.cat((weights[:, :1], joined), 1)
