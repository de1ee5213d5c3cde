"""Check the tensors in the authors' checkpoints that were never learned.

An astseg model computes them itself, so they are not loaded but compared: with other values, the model would not
compute what the checkpoint did.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import torch
from torch import Tensor

from astseg._core.errors import AstSegError
from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.attention import coordinate_map
from astseg.model.backgrounds.ae_ne import BackgroundAutoencoder, PositionalBlock

_TOLERANCE = 1e-5


def is_constant(name: str) -> bool:
    """Tell whether the tensor of this name was never learned."""
    return name in ("position_map", "background_mask", "background_mask_logit") or name.endswith("positional_encoding")


def check_constants(weights: Mapping[str, Tensor], model: AstSeg) -> None:
    """Compare the constants in a checkpoint with those that a model computes.

    ``background_mask_logit`` may have any value: the authors' program renders ``background_mask``, which is one.

    Raises:
        AstSegError: a constant has another shape or other values.
    """
    for name, expected, meaning in _constants(model):
        if name not in weights:
            continue
        found = weights[name].to(expected.dtype)
        if found.numel() != expected.numel() or found.shape[-2:] != expected.shape[-2:]:
            raise AstSegError(
                f"{name} has the shape {tuple(found.shape)}, expected {tuple(expected.shape)}: {meaning}. "
                "Was the checkpoint made for another image size? Choose its own preset."
            )
        if not torch.allclose(found.reshape(expected.shape), expected, rtol=0, atol=_TOLERANCE):
            raise AstSegError(f"{name} holds other values than the published program's: {meaning}.")


def _constants(model: AstSeg) -> Iterator[tuple[str, Tensor, str]]:
    """Yield name, values and meaning of each constant."""
    yield "position_map", position_map(model.architecture), "the coordinates x and y of equations 12 and 13"
    yield "background_mask", torch.ones(1, 1, 1, 1, 1), "ones"
    if isinstance(model.background, BackgroundAutoencoder):
        networks = {"background_encoder": model.background.encoder, "background_generator": model.background.decoder}
        for part, blocks in networks.items():
            for number, block in enumerate(cast(Iterable[PositionalBlock], blocks)):
                yield f"{part}.{number}.positional_encoding", block.positions, "from -0.5 to 0.5 down, then across"


def position_map(architecture: Architecture) -> Tensor:
    """Return the coordinates of the cells of the feature map (equations 12 and 13), 1 x 2 x h x w: x, then y."""
    step = 1 if architecture.feature_network == "unet" else 4
    height, width = (-(-side // step) for side in architecture.image_size)
    return coordinate_map((height, width))[None]
