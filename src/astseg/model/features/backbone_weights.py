"""Pretrained weights for SegFormer's backbone."""

from typing import Any

from astseg._core.errors import AstSegError
from astseg.model.ast_seg import AstSeg
from astseg.model.features.segformer import SegformerMaps


def load_backbone(model: AstSeg, source: str) -> None:
    """Load weights from the model hub (``nvidia/mit-b3``) or a folder into the backbone of a model's SegFormer.

    The decoder keeps its random weights.

    Raises:
        AstSegError: the model has no SegFormer, or the weights cannot be read or have another size.
    """
    if not isinstance(model.feature_maps, SegformerMaps):
        raise AstSegError(f"Backbone weights need SegFormer; this model has {model.architecture.feature_network}.")
    from transformers import SegformerModel  # as in `SegformerMaps`

    try:
        loaded: Any = SegformerModel.from_pretrained(source, output_loading_info=True)
    except Exception as error:  # missing or damaged files raise errors of several libraries
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise AstSegError(
            f"Cannot read backbone weights from '{source}': {reason} "
            "Give a folder with config.json and the weights, a name on the model hub, or no backbone."
        ) from error
    backbone, report = loaded
    if report["missing_keys"]:  # transformers only warns and leaves these weights random
        raise AstSegError(
            f"'{source}' is not a SegFormer backbone: {len(report['missing_keys'])} weights are missing. "
            "Give the weights of a Mix Transformer, such as nvidia/mit-b3."
        )
    try:
        model.feature_maps.network.segformer.load_state_dict(backbone.state_dict())
    except RuntimeError as error:
        raise AstSegError(
            f"The weights in '{source}' do not fit {model.architecture.feature_network}. Choose the same size for both."
        ) from error
