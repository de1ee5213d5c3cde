"""The names of SegFormer's weights in files.

transformers has renamed SegFormer's layers once, and may again; the files on the model hub, and the paper's, keep the
first names. astseg's files keep them too, so that a model can be read whatever version of transformers is installed.
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
    """Return the first name of a weight; names that never changed stay.

    >>> saved_name("segformer.stages.0.blocks.1.attention.q_proj.weight")
    'segformer.encoder.block.0.1.attention.self.query.weight'
    """
    for pattern, replacement in _SAVED_NAME_PATTERNS.items():
        name = re.sub(pattern, replacement, name)
    return name


def current_names(names: Iterable[str]) -> dict[str, str]:
    """Return the installed library's name of each weight, by its first name."""
    return {saved_name(name): name for name in names}
