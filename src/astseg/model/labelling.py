"""Giving pixels to layers by what the pixels show and what their neighbours say. Not in the paper.

The paper gives each pixel to the layer with the largest weight, and the weights know a pixel's colours only through a
few numbers of appearance: corners are round and rims a pixel too narrow. Here the weights are what is expected before
a look at the pixels. Each layer's error at a pixel is held against it, as in a mixture of Laplace distributions, and
pixels of like colours draw each other to the same layer, as in a Potts model whose pull ends at edges of the picture.
"""

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from astseg.model.rendering import DEEPEST_SHADOW, Rendering

ROUNDS = 5  # of asking the neighbours; after three, next to no label changes any more
NEIGHBOURS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0))


@dataclass(frozen=True)
class LabelRule:
    """How pixels are given to layers when a picture is segmented.

    Backgrounds are painted more exactly than objects, so their errors say more.

    Raises:
        ValueError: a value is negative, or no two colours would be alike.
    """

    object_error: float = 4.0
    """What an object's log-weight loses for each unit of its L1 error (0 to 3, equation 19)."""
    between_objects: bool = True
    """Whether objects' errors also decide between objects. Else each is charged the mean of all by their weights: an
    object that several slots share does not break up into the colours of each."""
    background_error: float = 25.0
    """The same for the background, whose error is that of the shade of it that fits best."""
    background_margin: float = 0.0
    """What the background's log-weight loses in any case. It wins pixels that the background shares with an object's
    rim, and shadows with them."""
    neighbour_pull: float = 4.0
    """What a layer's log-weight gains where one of the eight neighbours has the same colour and belongs to it."""
    likeness: float = 0.1
    """The L1 distance of two colours at which a neighbour's pull has fallen to exp(-1)."""
    fewest_pixels: int = 12
    """A slot that would own fewer pixels of the model's size owns none: crumbs are no objects."""

    def __post_init__(self) -> None:
        if min(float(getattr(self, field.name)) for field in fields(self)) < 0 or not self.likeness:
            raise ValueError(f"a rule for labels has no negative values, and a likeness above 0: {self}")


def posterior_weights(
    rendering: Rendering, images: Float[Tensor, "batch 3 height width"], rule: LabelRule
) -> Float[Tensor, "batch layers height width"]:
    """The share of each layer in each pixel once the pixels themselves have been looked at.

    A pixel counts as background when it shows *some shade* of it: the factor, down to that of the deepest shadow, under
    which the background comes nearest. A shadow that no object has learned to throw stays with the background.

    Args:
        rendering: what the pictures were put together from, on their real backgrounds.
        images: the pictures, in [0, 1].
        rule: how much errors and neighbours say, and how small an object may be.

    Returns:
        Weights that sum to one over the layers.
    """
    background = rendering.background
    brightness = background.square().sum(1, keepdim=True).clamp(min=torch.finfo(background.dtype).eps)
    light = ((images * background).sum(1, keepdim=True) / brightness).clamp(1 - DEEPEST_SHADOW, 1)
    background_error = (images - light * background).abs().sum(1, keepdim=True)
    object_errors = (images[:, None] - rendering.layers).abs().sum(2)
    if not rule.between_objects:
        weights = rendering.weights[:, 1:]
        shares = weights / weights.sum(1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
        object_errors = (shares * object_errors).sum(1, keepdim=True).expand_as(weights)
    against = torch.cat(
        (rule.background_error * background_error + rule.background_margin, rule.object_error * object_errors), 1
    )
    log_weights = rendering.weights.clamp(min=torch.finfo(background.dtype).tiny).log()
    agreed = agree_with_neighbours(log_weights - against, images, rule.neighbour_pull, rule.likeness)
    return without_crumbs(agreed, rule.fewest_pixels)


def agree_with_neighbours(
    log_weights: Float[Tensor, "batch layers height width"],
    images: Float[Tensor, "batch 3 height width"],
    pull: float,
    likeness: float,
) -> Float[Tensor, "batch layers height width"]:
    """Let pixels of like colours draw each other to the same layer: the mean field of a Potts model.

    Args:
        log_weights: what speaks for each layer at each pixel by itself; any constant may be added.
        images: the pictures, whose edges end the pull.
        pull: what a layer gains where a neighbour of the same colour belongs to it.
        likeness: the L1 distance of two colours at which the pull has fallen to exp(-1).

    Returns:
        Weights that sum to one over the layers.
    """
    weights = log_weights.softmax(1)
    if not pull:
        return weights
    padded = F.pad(images, (1, 1, 1, 1))
    pulls = []
    for neighbour in NEIGHBOURS:
        distance = (images - _seen_at(padded, neighbour)).abs().sum(1, keepdim=True)
        pulls.append(pull * (-distance / likeness).exp())
    for _ in range(ROUNDS):
        padded = F.pad(weights, (1, 1, 1, 1))  # beyond the border nothing belongs to any layer
        heard = log_weights.clone()
        for neighbour, strength in zip(NEIGHBOURS, pulls, strict=True):
            heard.addcmul_(strength, _seen_at(padded, neighbour))
        weights = heard.softmax(1)
    return weights


def _seen_at(padded: Float[Tensor, "batch channels height+2 width+2"], neighbour: tuple[int, int]) -> Tensor:
    """At each pixel of values with a border of one pixel, those of the neighbour so far below and to the right."""
    down, right = neighbour
    height, width = padded.shape[-2] - 2, padded.shape[-1] - 2
    return padded[..., 1 + down : 1 + down + height, 1 + right : 1 + right + width]


def without_crumbs(
    weights: Float[Tensor, "batch layers height width"], fewest_pixels: int
) -> Float[Tensor, "batch layers height width"]:
    """The weights without the slots that would own too few pixels; the others share what these had."""
    layers = torch.arange(weights.shape[1], device=weights.device)
    pixels = (weights.argmax(1, keepdim=True) == layers[:, None, None]).sum((2, 3))
    kept = (pixels >= fewest_pixels) | (layers == 0)
    # Where nothing is left to divide, everything becomes zero, and the background comes first among equals.
    left = weights * kept[..., None, None]
    return left / left.sum(1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
