"""Any pretrained network of the transformers library as local responses: SegFormer, DINOv2, ResNet and their kin."""

from inspect import signature
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from astseg._core.errors import AstSegError
from astseg.model.resizing import resized
from astseg.model.slow_features.responses import LocalResponses, ResponseMap
from astseg.model.transformers_networks import read_network

NUM_MAPS = 4
"""How many hidden states are taken, evenly spaced through the network; the last is one of them."""
SIDE = 256
"""The longer side, in pixels, of what a network without patches sees."""
PATCHES = 32
"""How many patches a vision transformer sees along the longer side."""
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PretrainedResponses(LocalResponses):
    """Hidden states of a frozen network: feature maps, or tokens, of which the last are one for each patch.

    Args:
        source: a folder with config.json and weights, or a name on the model hub, such as ``facebook/dinov2-small``.

    Raises:
        AstSegError: the network cannot be read, or its hidden states are neither.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, source: str) -> None:
        super().__init__()
        # Not on the device "meta", where memory is estimated: weights that are read have content.
        with torch.device("cpu"):
            self.network = _read(source).eval()
            _freeze(self.network)
            for name, values in (("mean", IMAGENET_MEAN), ("deviation", IMAGENET_DEVIATION)):
                self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
            patch = getattr(self.network.config, "patch_size", None)
            self.patch = patch if isinstance(patch, int) else None  # SegFormer's list is of patches that overlap
            try:
                maps = self.responses(torch.zeros(1, 3, 64, 64), (64, 64))
            except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
                raise AstSegError(
                    f"'{source}' gives no feature maps: {error}. Take a network for images, such as "
                    "facebook/dinov2-small."
                ) from error
        self.channels = 3 + sum(one.values.shape[1] for one in maps)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all but the network, which remains in evaluation mode."""
        super().train(mode)
        self.network.eval()
        return self

    @torch.no_grad()
    def responses(self, images: Float[Tensor, "batch 3 height width"], grid: tuple[int, int]) -> list[ResponseMap]:
        """Return hidden states as maps, the earliest first."""
        unit, units = (1, SIDE) if self.patch is None else (self.patch, PATCHES)
        rows, columns = (max(1, round(side * units / max(grid))) for side in grid)
        size = (rows * unit, columns * unit)
        large = resized(images, size, "bicubic")
        normalized = (large.clamp(0, 1) - self.mean) / self.deviation
        options = dict.fromkeys({"interpolate_pos_encoding"} & set(signature(self.network.forward).parameters), True)
        found = self.network(pixel_values=normalized, output_hidden_states=True, **options)
        states = found.hidden_states
        chosen = [states[-(-number * len(states) // NUM_MAPS) - 1] for number in range(1, NUM_MAPS + 1)]
        return [ResponseMap(one if one.ndim == 4 else _patch_map(one, (rows, columns))) for one in chosen]


MAX_OTHER_TOKENS = 8
"""Before the tokens of the patches: those of the class, of distillation and a few registers."""


def _patch_map(
    tokens: Float[Tensor, "batch tokens channels"], grid: tuple[int, int]
) -> Float[Tensor, "batch channels rows columns"]:
    """Return the tokens of the patches, which come last, as a map.

    Raises:
        ValueError: there are fewer tokens than patches, or more than `MAX_OTHER_TOKENS` besides.
    """
    rows, columns = grid
    if not 0 <= tokens.shape[1] - rows * columns <= MAX_OTHER_TOKENS:
        raise ValueError(f"a hidden state has {tokens.shape[1]} tokens for {rows} x {columns} patches")
    return tokens[:, -rows * columns :].transpose(1, 2).reshape(len(tokens), -1, rows, columns)


def _read(source: str) -> nn.Module:
    from transformers import AutoModel  # slow to import, and other models do not need it

    advice = (
        "Give efficientnet-lite0, efficientnet-lite0-dense, filters, a folder with config.json and model.safetensors, "
        "or a name on the model hub."
    )
    problem = f"Cannot read the network '{source}' for slow features"
    network, missing = read_network(AutoModel, source, problem, advice, use_safetensors=True, trust_remote_code=False)
    if needed := [name for name in missing if not name.startswith("pooler.")]:  # a pooled output is not used
        raise AstSegError(f"'{source}' lacks {len(needed)} weights of its network, such as {min(needed)}.")
    return network  # type: ignore[no-any-return]


def _freeze(network: nn.Module) -> None:
    """Turn all tensors of a network into buffers that neither learn nor are saved."""
    for module in network.modules():
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            delattr(module, name)
            module.register_buffer(name, tensor.detach(), persistent=False)
