"""The names that the authors' program gives to the weights of an astseg model.

``published_names`` gives the names under which a checkpoint is expected to hold the weights. ``addresses`` makes names
comparable where a program could number its layers differently without computing anything else: a sequence of
convolutions and normalizations is addressed by the order and the kind of its layers, and SegFormer's layers by the
names they had when the checkpoints were written, whatever the installed ``transformers`` calls them.
"""

import re
from collections.abc import Collection, Mapping

from torch import Tensor

from astseg.model.features.segformer_names import saved_name

FEATURE_MAPS = "feature_and_attention_map_generator."
SEGFORMER = FEATURE_MAPS + "complete_model."
TRANSFORMER = ("feature_vector_embedding.", "transformer.", "latents_projection.")
BACKGROUND = ("background_encoder.", "background_generator.")

_PUBLISHED_NAMES = {
    r"feature_maps\.network\.": SEGFORMER,
    r"feature_maps\.first\.": FEATURE_MAPS + "first_feature_map.",
    r"feature_maps\.down\.(\d+)\.shrink\.": FEATURE_MAPS + r"downsample_blocks.\1.bloc1.",
    r"feature_maps\.down\.(\d+)\.residual\.": FEATURE_MAPS + r"downsample_blocks.\1.bloc2.",
    r"feature_maps\.centre\.": FEATURE_MAPS + "center_block.",
    r"feature_maps\.up\.(\d+)\.residual\.": FEATURE_MAPS + r"upsample_blocks.\1.bloc1.",
    r"feature_maps\.up\.(\d+)\.grow\.": FEATURE_MAPS + r"upsample_blocks.\1.bloc2.0.",
    r"feature_maps\.up\.(\d+)\.normalise\.0\.": FEATURE_MAPS + r"upsample_blocks.\1.bloc2.1.",
    r"feature_maps\.join\.": FEATURE_MAPS + "last_skip_layer.",
    r"feature_maps\.residual\.": FEATURE_MAPS + "last_residual_layer.",
    r"feature_maps\.last\.": FEATURE_MAPS + "conv1x1.",
    r"refinement\.embedding\.": "feature_vector_embedding.",
    r"refinement\.transformer\.": "transformer.",
    r"refinement\.projection\.": "latents_projection.",
    r"background_log_activation$": "background_activation_logit",
    r"pixel_log_activation$": "local_background_activation_logit",
    r"background\.encoder\.(\d+)\.layers\.": r"background_encoder.\1.downsample.",
    r"background\.decoder\.(\d+)\.layers\.": r"background_generator.\1.upsample.",
}

_SEQUENCE = re.compile(
    r"(?P<sequence>"
    + re.escape(FEATURE_MAPS)
    + r"(?:first_feature_map|center_block|last_skip_layer|last_residual_layer|conv1x1"
    r"|(?:down|up)sample_blocks\.\d+\.bloc[12])"
    r"|glimpse_generator|background_encoder\.\d+\.downsample|background_generator\.\d+\.upsample)"
    r"\.(?:(?P<layer>.+)\.)?(?P<value>\w+)"
)


def published_names(names: Collection[str]) -> dict[str, str]:
    """Map the authors' names of all weights of an astseg model to its own names.

    Both number the U-net's upsample blocks from 0: we in the order of the forward pass, they by level from the finest.

    >>> for theirs, ours in published_names(["feature_maps.up.0.grow.weight", "feature_maps.up.1.grow.weight"]).items():
    ...     print(ours, theirs)
    feature_maps.up.0.grow.weight feature_and_attention_map_generator.upsample_blocks.1.bloc2.0.weight
    feature_maps.up.1.grow.weight feature_and_attention_map_generator.upsample_blocks.0.bloc2.0.weight
    """
    block = re.compile(r"(?<=^feature_maps\.up\.)\d+")
    finest = max((int(found[0]) for name in names if (found := block.search(name))), default=0)
    return {_published_name(block.sub(lambda number: str(finest - int(number[0])), name)): name for name in names}


def _published_name(name: str) -> str:
    for ours, theirs in _PUBLISHED_NAMES.items():
        name, found = re.subn("^" + ours, theirs, name)
        if found:
            break
    return name


def addresses(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Map each weight's address (see the module's docstring) to its name in this file."""
    layers = _layers_of_sequences(weights)
    found = {}
    for name in weights:
        address = name
        if name.startswith(SEGFORMER):
            address = saved_name(name)
        elif part := _SEQUENCE.fullmatch(name):
            sequence, layer = part["sequence"], part["layer"] or ""
            order = list(layers[sequence]).index(layer)
            address = f"{sequence}.{order}.{layers[sequence][layer]}.{part['value']}"
        found[address] = name
    return found


def _layers_of_sequences(weights: Mapping[str, Tensor]) -> dict[str, dict[str, str]]:
    """Return each sequence's layers in the order of the forward pass, with their kinds."""
    sequences: dict[str, dict[str, str]] = {}
    for name in weights:
        if part := _SEQUENCE.fullmatch(name):
            weight = weights.get(name.removesuffix(part["value"]) + "weight")
            kind = "convolution" if weight is not None and weight.ndim == 4 else "normalization"
            sequences.setdefault(part["sequence"], {})[part["layer"] or ""] = kind
    return {sequence: dict(sorted(layers.items(), key=_layer_number)) for sequence, layers in sequences.items()}


def _layer_number(layer: tuple[str, str]) -> tuple[int, ...]:
    # Layers with other names keep the order of the file, which is that of their definition.
    parts = layer[0].split(".")
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else ()
