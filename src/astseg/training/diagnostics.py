"""Signs by which one sees early whether a training run is well."""

from typing import NamedTuple

from astseg.model.rendering import Rendering
from astseg.training.losses import pixel_entropy


class Health(NamedTuple):
    """How a batch was put together, as means over its images."""

    background_share: float
    """The share of the images that the background layer explains, from 0 to 1: the objects' phase begins near 1
    and should fall to the share of background in the images."""
    active_slots: float
    """How many slots own at least one pixel of an image, from 0 to K."""
    entropy: float
    """The entropy of a pixel's distribution over the layers in nats; 0 where each pixel belongs to one layer."""
    activation: float
    """The largest activation of an image's slots against the background's, as a difference of logarithms."""


def health(rendering: Rendering, background_log_activation: float) -> Health:
    """Read the signs off a rendering."""
    weights = rendering.weights.detach()
    owners = weights.argmax(1).flatten(1)
    slots = range(1, weights.shape[1])
    active = sum((owners == slot).any(1).float().mean() for slot in slots)
    strongest = rendering.latents.log_activations.detach().amax(1).mean()
    return Health(
        background_share=float(weights[:, 0].mean()),
        active_slots=float(active),
        entropy=float(pixel_entropy(weights).mean()),
        activation=float(strongest) - background_log_activation,
    )
