"""Placing glimpses on the image and letting them compete for each pixel: Algorithm 2, equations 17 and 18."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from astseg.model.latents import ObjectLatents

MAX_NEGATIVE_LOG_WEIGHT = -80.0  # exp(-80) is the smallest round power that float32 still tells from zero
MAX_SHADOW = 0.6
PRESENCE_PIXELS = 20.0  # a slot of so many pixels is there for the most part


class Rendering(NamedTuple):
    """An image put together from its background and K objects."""

    image: Float[Tensor, "batch 3 height width"]
    """The reconstruction, in [0, 1]."""
    weights: Float[Tensor, "batch layers height width"]
    """The share of each of the K + 1 layers in a pixel; layer 0 is the background."""
    layers: Float[Tensor, "batch slots 3 height width"]
    """The placed colors of each object, zero outside its glimpse."""
    masks: Float[Tensor, "batch slots height width"]
    """The placed mask of each object before it competes, zero outside its glimpse."""
    background: Float[Tensor, "batch 3 height width"]
    """The background layer, with the objects' shadows on it if the model paints shadows."""
    latents: ObjectLatents
    """What the objects were painted from."""
    vectors: Float[Tensor, "batch slots directions"] | None = None
    """The slow features that each object paints under its mask, shorter than 1; the background's are 0. None for a
    model of colors alone."""


def place(
    glimpses: Float[Tensor, "batch slots channels side side"],
    positions: Float[Tensor, "batch slots 2"],
    inverse_scales: Float[Tensor, "batch slots 2"],
    image_size: tuple[int, int],
) -> Float[Tensor, "batch slots channels height width"]:
    """Scale and move glimpses to their places with a spatial transformer: bilinear, zero outside the glimpse."""
    batch, num_slots, channels = glimpses.shape[:3]
    # An output pixel at p shows the glimpse at (p - position) * inverse scale.
    theta = torch.zeros(batch, num_slots, 2, 3, dtype=positions.dtype, device=positions.device)
    theta[..., :2] = torch.diag_embed(inverse_scales)
    theta[..., 2] = -positions * inverse_scales
    grid = F.affine_grid(theta.flatten(0, 1), [batch * num_slots, channels, *image_size], align_corners=False)
    placed = F.grid_sample(glimpses.flatten(0, 1), grid.to(glimpses.dtype), align_corners=False)
    return placed.view(batch, num_slots, channels, *image_size)


def slot_presence(
    weights: Float[Tensor, "batch layers height width"], pixels_per_cell: int = 1
) -> Float[Tensor, "batch slots"]:
    """Return how much each slot is there, from 0 to 1: its weight over all pixels, saturated by tanh.

    Not in the paper.

    Args:
        weights: the share of each layer in each cell.
        pixels_per_cell: how many pixels of an image each cell stands for.
    """
    return torch.tanh(weights[:, 1:].sum((-2, -1)) * pixels_per_cell / PRESENCE_PIXELS)


def apply_shadows(
    background: Float[Tensor, "batch 3 height width"], shadows: Float[Tensor, "batch slots height width"]
) -> Float[Tensor, "batch 3 height width"]:
    """Let the shadows of all objects fall on the background. Not in the paper.

    A shadow takes the same share of the light from all three colors, at most ``MAX_SHADOW``: enough for a shadow,
    not for painting a dark object. It must come from an object that is there (see ``presence``), or dark objects would
    be painted as shadows of nothing, which no cost of slots in use would notice.

    >>> apply_shadows(torch.ones(1, 3, 1, 1), torch.full((1, 2, 1, 1), 0.5)).flatten()  # two half shadows, 0.7 each
    tensor([0.4900, 0.4900, 0.4900])
    """
    return background * (1 - MAX_SHADOW * shadows).prod(1, keepdim=True)


def compositing_weights(
    masks: Float[Tensor, "batch slots height width"],
    log_activations: Float[Tensor, "batch slots"],
    background_log_activation: Float[Tensor, "#height #width"],
) -> Float[Tensor, "batch layers height width"]:
    """Return the share of each layer in each pixel (equation 17); the background's mask is one everywhere.

    Activations enter by their logarithms: all are divided by the largest of the image first, which changes no
    weight and keeps their exponentials finite.
    """
    highest = torch.maximum(log_activations.amax(1), background_log_activation.amax()).detach()
    objects = (log_activations - highest[:, None]).exp()[..., None, None] * masks
    background = (background_log_activation - highest[:, None, None]).clamp(min=MAX_NEGATIVE_LOG_WEIGHT).exp()
    activated = torch.cat((background.expand_as(objects[:, 0])[:, None], objects), 1)
    return activated / activated.sum(1, keepdim=True)


def composite(
    weights: Float[Tensor, "batch layers height width"],
    background: Float[Tensor, "batch 3 height width"],
    layers: Float[Tensor, "batch slots 3 height width"],
) -> Float[Tensor, "batch 3 height width"]:
    """Return the weighted sum of the background and the object layers (equation 18)."""
    behind, before = torch.split(weights, [1, layers.shape[1]], 1)
    return behind * background + (before[:, :, None] * layers).sum(1)
