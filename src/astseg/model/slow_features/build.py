"""The networks that local responses come from, by name."""

from typing import TypeAlias

from astseg.model.slow_features.pretrained import PretrainedResponses
from astseg.model.slow_features.responses import (
    DENSE_BLOCKS,
    DENSE_SIDE,
    DENSE_STRIDE,
    FilterResponses,
    Lite0Responses,
    LocalResponses,
)

Backbone: TypeAlias = str
"""``efficientnet-lite0``: frozen ImageNet features. ``efficientnet-lite0-dense``: more of them, of a larger image, for
what is camouflaged. ``filters``: colors and energies of simple filters, without any learned weight. Anything else: a
folder or a name on the model hub; see `PretrainedResponses`."""


def build_responses(backbone: Backbone) -> LocalResponses:
    """Build a backbone by its name.

    Raises:
        AstSegError: its weights are not installed or cannot be read.
    """
    match backbone:
        case "efficientnet-lite0":
            return Lite0Responses()
        case "efficientnet-lite0-dense":
            return Lite0Responses(DENSE_BLOCKS, DENSE_SIDE, DENSE_STRIDE)
        case "filters":
            return FilterResponses()
        case source:
            return PretrainedResponses(source)
