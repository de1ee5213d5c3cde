"""SegFormer, the paper's feature network, from the transformers library."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from astseg.model.features.segformer_convolutions import use_faster_convolutions
from astseg.model.features.segformer_decoder import decode
from astseg.model.features.segformer_names import current_names, saved_name


@dataclass(frozen=True)
class MixTransformerSize:
    """The settings that differ between the sizes of SegFormer's backbone."""

    hidden_sizes: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    decoder_hidden_size: int


FEATURE_STRIDE = 2
"""By how much the first stage reduces a feature map, which is coarser than an image already; an image by four."""
_WIDE_HIDDEN_SIZES = (64, 128, 320, 512)
MIX_TRANSFORMER_SIZES: Mapping[str, MixTransformerSize] = MappingProxyType(
    {
        "segformer-b0": MixTransformerSize((32, 64, 160, 256), (2, 2, 2, 2), 256),
        "segformer-b1": MixTransformerSize(_WIDE_HIDDEN_SIZES, (2, 2, 2, 2), 256),
        "segformer-b2": MixTransformerSize(_WIDE_HIDDEN_SIZES, (3, 4, 6, 3), 768),
        "segformer-b3": MixTransformerSize(_WIDE_HIDDEN_SIZES, (3, 4, 18, 3), 768),
        "segformer-b4": MixTransformerSize(_WIDE_HIDDEN_SIZES, (3, 8, 27, 3), 768),
        "segformer-b5": MixTransformerSize(_WIDE_HIDDEN_SIZES, (3, 6, 40, 3), 768),
    }
)


class SegformerMaps(nn.Module):
    """SegFormer with random weights; its maps have a quarter of the image's height and width.

    ``astseg.model.features.backbone_weights.load_backbone`` loads pretrained weights into its backbone.

    Args:
        size: its backbone's size.
        channels: of the maps.
        feature_channels: of a feature map given in place of an image; the maps then have half of its height and width.
    """

    def __init__(self, size: MixTransformerSize, channels: int, feature_channels: int | None = None) -> None:
        super().__init__()
        # Imported here because it is slow to import and the other networks do not need it.
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

        config = SegformerConfig(
            hidden_sizes=list(size.hidden_sizes),
            depths=list(size.depths),
            decoder_hidden_size=size.decoder_hidden_size,
            num_labels=channels,  # type: ignore[call-arg]
        )
        if feature_channels is not None:
            config.num_channels = feature_channels
            config.strides = [FEATURE_STRIDE, *config.strides[1:]]
            # As of the other stages, a patch reaches over half of its neighbors.
            config.patch_sizes = [2 * FEATURE_STRIDE - 1, *config.patch_sizes[1:]]
        self.network = SegformerForSemanticSegmentation(config)
        use_faster_convolutions(self.network)
        self.register_state_dict_post_hook(_rename_on_save)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_rename_on_load)  # type: ignore[no-untyped-call]

    @property
    def output_layer(self) -> nn.Conv2d:
        """The layer with one row of weights per map; those of the K slots come first."""
        return self.network.decode_head.classifier

    def forward(
        self, images: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch channels map_height map_width"]:
        """Return the decoder's logits."""
        stages = self.network.segformer(pixel_values=images, output_hidden_states=True).hidden_states
        return decode(self.network.decode_head, stages)


def _rename_on_save(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for name in [name for name in state if name.startswith(prefix)]:
        state[prefix + saved_name(name.removeprefix(prefix))] = state.pop(name)


def _rename_on_load(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    own = [name for name, _ in (*module.named_parameters(), *module.named_buffers())]
    for first, current in current_names(own).items():
        if prefix + first in state:
            state[prefix + current] = state.pop(prefix + first)
