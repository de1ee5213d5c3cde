"""The names of SegFormer's weights in files.

transformers has renamed SegFormer's layers once and may do so again; the files on the model hub and the paper's use the
original names. astseg's files use them too, so that they can be read with any version of transformers.
"""

import re
from collections.abc import Iterable

_SAVED_NAME_PATTERNS = {
    r"segformer\.stages\.(\d+)\.patch_embeddings\.": r"segformer.encoder.patch_embeddings.\1.",
    r"segformer\.stages\.(\d+)\.blocks\.(\d+)\.": r"segformer.encoder.block.\1.\2.",
    r"segformer\.stages\.(\d+)\.layer_norm\.": r"segformer.encoder.layer_norm.\1.",
    r"\.layernorm_before\.": ".layer_norm_1.",
    r"\.layernorm_after\.": ".layer_norm_2.",
    r"\.attention\.q_proj\.": ".attention.self.query.",
    r"\.attention\.k_proj\.": ".attention.self.key.",
    r"\.attention\.v_proj\.": ".attention.self.value.",
    r"\.attention\.o_proj\.": ".attention.output.dense.",
    r"\.attention\.sequence_reduction\.sequence_reduction\.": ".attention.self.sr.",
    r"\.attention\.sequence_reduction\.layer_norm\.": ".attention.self.layer_norm.",
    r"\.mlp\.fc1\.": ".mlp.dense1.",
    r"\.mlp\.fc2\.": ".mlp.dense2.",
    r"decode_head\.linear_projections\.": "decode_head.linear_c.",
}


def saved_name(name: str) -> str:
    """Return the name of a weight in files; most names are the installed library's.

    >>> saved_name("segformer.stages.0.blocks.1.attention.q_proj.weight")
    'segformer.encoder.block.0.1.attention.self.query.weight'
    """
    for pattern, replacement in _SAVED_NAME_PATTERNS.items():
        name = re.sub(pattern, replacement, name)
    return name


def current_names(names: Iterable[str]) -> dict[str, str]:
    """Return the installed library's name of each weight, keyed by its name in files."""
    return {saved_name(name): name for name in names}
