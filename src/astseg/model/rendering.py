"""Rendering: place glimpses on the image and let them compete for each pixel (Algorithm 2, equations 17 and 18)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from astseg.model.attention import cell_coordinates
from astseg.model.latents import ObjectLatents
from astseg.model.single_precision import at_least_single

MIN_LOG_ACTIVATION = -80.0  # relative to the largest; exp(-80) is still above zero in float32
MAX_SHADOW = 0.6  # the share of the light that one object's shadow can take away
PRESENCE_PIXELS = 20.0  # a slot with the weight of this many pixels has a presence of tanh(1), about 0.76


class Rendering(NamedTuple):
    """An image composed of its background and K objects."""

    image: Float[Tensor, "batch 3 height width"]
    """The reconstruction, in [0, 1]."""
    weights: Float[Tensor, "batch layers height width"]
    """The share of each of the K + 1 layers in each pixel; layer 0 is the background."""
    layers: Float[Tensor, "batch slots 3 height width"]
    """The colors of each object in the image frame, zero outside its glimpse."""
    masks: Float[Tensor, "batch slots height width"]
    """The mask of each object in the image frame before competition, zero outside its glimpse."""
    background: Float[Tensor, "batch 3 height width"]
    """The background layer; where it is visible, with the objects' shadows if the model has them."""
    latents: ObjectLatents
    """The latents that the objects were painted from."""
    vectors: Float[Tensor, "batch slots directions"] | None = None
    """The slow features that each object paints under its mask, shorter than 1; the background's are 0. None for a
    model of colors alone."""
    attention: Float[Tensor, "batch slots rows columns"] | None = None
    """Where each slot looked (equation 11), summing to one; None if the latents were given."""


def place_glimpses(
    glimpses: Float[Tensor, "batch slots channels side side"],
    positions: Float[Tensor, "batch slots 2"],
    inverse_scales: Float[Tensor, "batch slots 2"],
    image_size: tuple[int, int],
) -> Float[Tensor, "batch slots channels height width"]:
    """Scale glimpses and move them to their positions with a bilinear spatial transformer, zero outside the glimpse."""
    # An output pixel at p shows the glimpse at (p - position) * inverse scale.
    across, down = (
        (cell_coordinates(side, "consistent", like=positions) - positions[..., axis, None])
        * inverse_scales[..., axis, None]
        for axis, side in enumerate(reversed(image_size))
    )
    size = (*positions.shape[:2], *image_size)
    grid = torch.stack((across[..., None, :].expand(size), down[..., None].expand(size)), -1)
    placed = F.grid_sample(glimpses.flatten(0, 1), grid.flatten(0, 1).to(glimpses.dtype), align_corners=False)
    return placed.view(*glimpses.shape[:3], *image_size)


def slot_presence(
    weights: Float[Tensor, "batch layers height width"], pixels_per_cell: float | int = 1
) -> Float[Tensor, "batch slots"]:
    """Return each slot's presence, from 0 to 1: its weight summed over all pixels, saturated by tanh.

    Not in the paper.

    Args:
        weights: the share of each layer in each cell.
        pixels_per_cell: how many pixels of an image each cell stands for.
    """
    return torch.tanh(weights[:, 1:].sum((-2, -1)) * pixels_per_cell / PRESENCE_PIXELS)


def apply_shadows(
    background: Float[Tensor, "batch 3 height width"],
    shadows: Float[Tensor, "batch slots height width"],
    visible: Float[Tensor, "batch height width"],
) -> Float[Tensor, "batch 3 height width"]:
    """Cast the shadows of all objects on the background where it is visible. Not in the paper.

    A shadow takes the same share of light from all three colors, at most ``MAX_SHADOW``: enough for a shadow, too
    little to paint a dark object. Callers scale shadows by ``slot_presence``: otherwise an absent slot could paint a
    dark object as its shadow, at no cost to the losses that penalize slots in use.

    Behind objects no shadow is cast: nothing there shows how dark the ground is, so that any shadow would do.

    Args:
        background: the colors without shadows.
        shadows: how much of ``MAX_SHADOW`` each object takes away, from 0 to 1.
        visible: the background's share of each pixel, from 0 to 1.

    >>> two_halves = torch.full((1, 2, 1, 1), 0.5)
    >>> apply_shadows(torch.ones(1, 3, 1, 1), two_halves, torch.ones(1, 1, 1)).flatten()  # 0.7 each
    tensor([0.4900, 0.4900, 0.4900])
    >>> apply_shadows(torch.ones(1, 3, 1, 1), two_halves, torch.zeros(1, 1, 1)).flatten()
    tensor([1., 1., 1.])
    """
    # Not by `prod`, whose gradient waits for a GPU.
    return background * torch.log1p(-MAX_SHADOW * shadows * visible[:, None]).sum(1, keepdim=True).exp()


def compositing_weights(
    masks: Float[Tensor, "batch slots height width"],
    log_activations: Float[Tensor, "batch slots"],
    background_log_activation: Float[Tensor, "#height #width"],
) -> Float[Tensor, "batch layers height width"]:
    """Return the share of each layer in each pixel (equation 17); the background's mask is one everywhere.

    Activations are passed as logarithms. All are first divided by the largest of the image, which changes no weight and
    keeps their exponentials finite. The background keeps at least e^-80 of the largest, so that the weights of a pixel
    never sum to zero.
    """
    dtype = log_activations.dtype
    # In 16 bits, e^-80 would be 0.
    masks, log_activations, background_log_activation = map(
        at_least_single, (masks, log_activations, background_log_activation)
    )
    highest = torch.maximum(log_activations.amax(1), background_log_activation.max()).detach()
    objects = (log_activations - highest[:, None]).exp()[..., None, None] * masks
    background = (background_log_activation - highest[:, None, None]).clamp(min=MIN_LOG_ACTIVATION).exp()
    activated = torch.cat((background.expand_as(objects[:, 0])[:, None], objects), 1)
    return (activated / activated.sum(1, keepdim=True)).to(dtype)


def composite(
    weights: Float[Tensor, "batch layers height width"],
    background: Float[Tensor, "batch 3 height width"],
    layers: Float[Tensor, "batch slots 3 height width"],
) -> Float[Tensor, "batch 3 height width"]:
    """Return the weighted sum of the background and the object layers (equation 18)."""
    behind, before = torch.split(weights, [1, layers.shape[1]], 1)
    return behind * background + (before[:, :, None] * layers).sum(1)
