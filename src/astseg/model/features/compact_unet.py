"""A compact U-net for machines without a GPU. Not in the paper."""

import itertools
from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from astseg.model.features.unet import DownsampleBlock, conv3x3, with_norm_and_celu

COMPACT_UNET_CHANNELS = (16, 32, 48, 64)
WIDE_COMPACT_UNET_CHANNELS = (32, 48, 64, 96)


class CompactUnetMaps(nn.Module):
    """A small U-net with additive skips; its maps have a quarter of the image's height and width.

    Not in the paper. It needs about a fiftieth of SegFormer-B3's operations, for training on a CPU.

    Args:
        channels: of the maps.
        levels: channels of each level, each half as large as the one before.
        feature_channels: of a feature map given in place of an image; the maps then have half of its height and width.
    """

    def __init__(
        self, channels: int, levels: Sequence[int] = COMPACT_UNET_CHANNELS, feature_channels: int | None = None
    ) -> None:
        super().__init__()
        if feature_channels is None:
            stem = nn.Conv2d(3, levels[0], 5, stride=2, padding=2, bias=False)
        else:
            stem = conv3x3(feature_channels, levels[0])
        self.stem = with_norm_and_celu(stem, levels[0])
        self.down = nn.ModuleList(map(DownsampleBlock, levels[:-1], levels[1:]))
        # Spelled as in saved models.
        self.centre = with_norm_and_celu(conv3x3(levels[-1], levels[-1]), levels[-1])
        self.lateral = nn.ModuleList(nn.Conv2d(deep, shallow, 1) for shallow, deep in itertools.pairwise(levels[1:]))
        self.refine = nn.ModuleList(with_norm_and_celu(conv3x3(level, level), level) for level in levels[1:-1])
        self.last = nn.Sequential(
            with_norm_and_celu(conv3x3(levels[1], levels[1]), levels[1]), nn.Conv2d(levels[1], channels, 1)
        )

    @property
    def output_layer(self) -> nn.Conv2d:
        """The layer with one row of weights per map; those of the K slots come first."""
        return self.last[-1]  # type: ignore[return-value]

    def forward(
        self, images: Float[Tensor, "batch inputs height width"]
    ) -> Float[Tensor, "batch channels map_height map_width"]:
        """Return maps with a quarter of the image's height and width, or half of a feature map's."""
        x = self.stem(images)
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
        x = x + self.centre(x)
        for lateral, refine, skip in zip(reversed(self.lateral), reversed(self.refine), skips[-2::-1], strict=True):
            x = skip + F.interpolate(lateral(x), skip.shape[-2:], mode="bilinear", align_corners=False)
            x = x + refine(x)
        return self.last(x)  # type: ignore[no-any-return]
