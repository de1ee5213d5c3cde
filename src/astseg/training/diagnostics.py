"""Diagnostics: how the last batch was composited, as metrics show it; `training.health` judges a training."""

from typing import NamedTuple

from astseg.model.layer_owners import layer_owners
from astseg.model.rendering import Rendering
from astseg.training.losses import pixel_entropy


class Diagnostics(NamedTuple):
    """How a batch was composited: means over its images."""

    background_share: float
    """The background layer's share of the weights, from 0 to 1: it starts near 1 and should fall to the share of
    background in the images."""
    active_slots: float
    """The number of slots that own at least one pixel of an image, from 0 to K."""
    entropy: float
    """The entropy of a pixel's weights over the layers, in nats; 0 if each pixel belongs to one layer."""
    activation: float
    """The log activation of an image's strongest slot minus that of the background."""


def measure_diagnostics(rendering: Rendering, background_log_activation: float) -> Diagnostics:
    """Return the diagnostics of a batch.

    Args:
        rendering: how the batch was composited.
        background_log_activation: that of the background, which the slots' are compared with.
    """
    weights = rendering.weights.detach()
    owners = layer_owners(weights).flatten(1)
    slots = range(1, weights.shape[1])
    active = sum((owners == slot).any(1).float().mean() for slot in slots)
    strongest = rendering.latents.log_activations.detach().amax(1).mean()
    return Diagnostics(
        background_share=float(weights[:, 0].mean()),
        active_slots=float(active),
        entropy=float(pixel_entropy(weights).mean()),
        activation=float(strongest) - background_log_activation,
    )
