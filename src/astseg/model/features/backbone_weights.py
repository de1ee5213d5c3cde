"""Pretrained weights for SegFormer's backbone."""

from astseg._core.errors import AstSegError
from astseg.model.ast_seg import AstSeg
from astseg.model.features.segformer import SegformerMaps
from astseg.model.transformers_networks import read_network


def load_backbone(model: AstSeg, source: str) -> None:
    """Load weights from the model hub (``nvidia/mit-b3``) or a folder into the backbone of a model's SegFormer.

    The decoder keeps its random weights.

    Raises:
        AstSegError: the model has no SegFormer or one that sees slow features, or the weights cannot be read or have
            another size.
    """
    if not isinstance(model.feature_maps, SegformerMaps):
        raise AstSegError(f"Backbone weights need SegFormer; this model has {model.architecture.feature_network}.")
    if model.slow_features is not None:
        raise AstSegError("Backbone weights are of networks that see images; this model sees slow features.")
    from transformers import SegformerModel  # as in `SegformerMaps`

    advice = "Give a folder with config.json and the weights, a name on the model hub, or no backbone."
    backbone, missing = read_network(SegformerModel, source, f"Cannot read backbone weights from '{source}'", advice)
    if missing:
        raise AstSegError(
            f"'{source}' is not a SegFormer backbone: {len(missing)} weights are missing. "
            "Give the weights of a Mix Transformer, such as nvidia/mit-b3."
        )
    try:
        model.feature_maps.network.segformer.load_state_dict(backbone.state_dict())
    except RuntimeError as error:
        raise AstSegError(
            f"The weights in '{source}' do not fit {model.architecture.feature_network}. Choose the same size for both."
        ) from error
