"""The settings that determine a model's weights and what they compute, as saved in ``config.json``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from astseg._core.settings_io import NOT_NEGATIVE, SIZE, Range, check_choice, check_values
from astseg.model.attention import CornerConvention
from astseg.model.backgrounds.build import BackgroundNetwork
from astseg.model.features.build import FeatureNetwork
from astseg.model.glimpses import published_glimpse_channels
from astseg.model.latents import LatentLayout
from astseg.model.own_networks import NetworkSetting, is_own
from astseg.model.refinement import Refinement, TransformerLayout
from astseg.model.slow_features.features import SlowFeatureLayout

MAX_SLOTS = 254
"""Labels are stored in one byte, 0 is the background, and 255 is reserved."""

MAX_LOG_ACTIVATION = 80.0
"""Single precision holds the activation itself, and its inverse."""


@dataclass(frozen=True)
class Architecture:
    """The architecture of an AST-Seg model. Its networks may be your own: see `register_network`.

    Raises:
        ValueError: a value is out of range or unknown.
    """

    image_size: tuple[int, int]
    """Height and width in pixels."""
    num_slots: int
    """K, the largest number of objects in an image."""
    feature_network: FeatureNetwork | str = "segformer-b3"
    """What turns an image into attention logits and a feature map."""
    refinement: Refinement | str = "transformer"
    transformer: TransformerLayout = field(default_factory=TransformerLayout)
    """The size of the transformer that refines the queries, if there is one."""
    latents: LatentLayout = field(default_factory=LatentLayout)
    glimpse_channels: tuple[int, ...] = ()
    """Channels of the glimpse generator's stages, except the last; empty for those of Table 7."""
    corner_convention: CornerConvention = "published"
    initial_background_log_activation: float = 11.0
    """The logarithm of the background's activation, alpha_0, before training (Table 6)."""
    per_pixel_background_activation: bool = False
    """Learn a background activation for each pixel, as for natural video."""
    residual_attention_bias: float = 0.0
    """The largest value added to the attention logits where image and background differ (``evidence_by_colors``), so
    that slots look there from the first step. 0 in the paper. Segmentation then needs the background network."""
    slot_position_prior: bool = False
    """Give each slot a preferred position (``SlotPositionPrior``). Not in the paper."""
    slow_features: SlowFeatureLayout | None = None
    """Have slots explain slow features in place of colors, for textured images (``model.slow_features``); None as in
    the paper. The colors are painted all the same."""
    shadows: bool = False
    """Let each object also cast a shadow on the background, so that its mask need not contain it. Not in the paper."""
    background_network: BackgroundNetwork | str | None = "complex"
    """None for a model that only segments."""

    def __post_init__(self) -> None:
        check_values(
            self,
            image_size=SIZE,
            num_slots=Range(1, MAX_SLOTS),
            glimpse_channels=SIZE,
            initial_background_log_activation=Range(-MAX_LOG_ACTIVATION, MAX_LOG_ACTIVATION),
            residual_attention_bias=NOT_NEGATIVE,
        )
        if len(self.image_size) != 2:
            raise ValueError(f"image_size should be a height and a width, not {self.image_size}")
        for name in ("image_size", "glimpse_channels"):  # lists do not equal the sizes that they are compared with
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.glimpse_channels:
            object.__setattr__(self, "glimpse_channels", published_glimpse_channels(self.image_size))
        if self.background_network is None and self.residual_attention_bias:
            raise ValueError("a residual attention bias needs a background network")
        if self.slow_features is not None and self.per_pixel_background_activation:
            raise ValueError("a model of slow features has one background activation, not one for each pixel")
        check_choice("corner_convention", self.corner_convention, CornerConvention)
        for name, choices in _NETWORKS.items():
            if not is_own(value := getattr(self, name)):
                check_choice(name, value, choices)

    @property
    def has_own_networks(self) -> bool:
        """Whether a network is of the user's own (`register_network`)."""
        return any(is_own(getattr(self, name)) for name in _NETWORKS)


_NETWORKS: Mapping[NetworkSetting, Any] = {
    "feature_network": FeatureNetwork,
    "refinement": Refinement,
    "background_network": Literal[BackgroundNetwork, None],
}
