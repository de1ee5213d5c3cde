"""All three steps from images to their residuals from the ground, as a module that holds the projection."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from astseg._core.settings_io import POSITIVE, REPETITIONS, SIZE, check_values
from astseg.model.slow_features.build import Backbone, build_responses
from astseg.model.slow_features.ground import bounded, clearly_foreground, fit_surfaces, residual_from_surfaces
from astseg.model.slow_features.projection import DIRECTIONS, SlowProjection, project_maps
from astseg.model.slow_features.responses import BLUR, gaussian_blur

GROUND_SHARE = 0.25
"""The evidence of foreground that the spread of the ground's own cells gives; it is subtracted."""


@dataclass(frozen=True)
class SlowFeatureLayout:
    """Which slow features a model explains, and how finely.

    Raises:
        ValueError: a value is impossible.
    """

    backbone: Backbone = "efficientnet-lite0"
    """What the features are made from: ``efficientnet-lite0``, ``efficientnet-lite0-dense``, ``filters``, a folder or a
    name on the model hub (`Backbone`)."""
    directions: int = DIRECTIONS
    """How many slow directions are kept."""
    scale: float = 9.0
    """The distance from the ground, in its standard deviations, whose bounded residual has the length 1/sqrt(2)."""
    stride: int = 2
    """Pixels of the model's image size for each cell of the grid on which slots learn to explain residuals."""
    surfaces: int = 1
    """The largest number of surfaces, such as a floor and walls, that the ground of an image may have."""

    def __post_init__(self) -> None:
        check_values(self, directions=SIZE, scale=POSITIVE, stride=SIZE, surfaces=REPETITIONS)

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """Return the rows and columns of the grid for a model's image size."""
        return -(-image_size[0] // self.stride), -(-image_size[1] // self.stride)


class GroundResiduals(NamedTuple):
    """Bounded residuals of slow features from the ground: shorter than 1, near 0 on the ground."""

    coarse: Float[Tensor, "batch directions rows columns"]
    """On the grid on which slots learn."""
    fine: Float[Tensor, "batch directions height width"]
    """One for each pixel."""

    def without(self, pixels: Bool[Tensor, "batch 1 height width"]) -> "GroundResiduals":
        """Return the residuals as if some pixels, and all cells that hold one of them, were ground."""
        cells = F.adaptive_max_pool2d(pixels.to(self.coarse.dtype), self.coarse.shape[-2:])
        return GroundResiduals(self.coarse * (1 - cells), self.fine * ~pixels)


class SlowFeatures(nn.Module):
    """Slow features of images, and their residuals from the ground.

    The projection is fitted once, to the images that the model is trained on, and saved with the model; the backbone is
    not saved.

    Args:
        layout: which features.

    Raises:
        AstSegError: the backbone's weights are not installed.
        ValueError: there are more directions than the backbone has channels.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, layout: SlowFeatureLayout) -> None:
        super().__init__()
        self.layout = layout
        self.backbone = build_responses(layout.backbone)
        if layout.directions > self.backbone.channels:
            raise ValueError(
                f"directions should be at most {self.backbone.channels}, the channels of {layout.backbone}, not "
                f"{layout.directions}"
            )
        self.register_buffer("mean", torch.zeros(self.backbone.channels))
        self.register_buffer("matrix", torch.zeros(self.backbone.channels, layout.directions))

    @property
    def projection(self) -> SlowProjection:
        """The affine map from responses to slow features; zero until it is fitted."""
        return SlowProjection(self.mean, self.matrix)

    @projection.setter
    def projection(self, projection: SlowProjection) -> None:
        self.mean.copy_(projection.mean)
        self.matrix.copy_(projection.matrix)

    @torch.no_grad()
    def project(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> tuple[Float[Tensor, "batch directions rows columns"], Float[Tensor, "batch directions height width"]]:
        """Return the slow features of images in [0, 1], on the grid on which slots learn and of each pixel."""
        size = (images.shape[-2], images.shape[-1])
        # The blur commutes with the projection as well.
        fine = gaussian_blur(project_maps(self.backbone.maps(images, size), self.projection, size), BLUR)
        return F.adaptive_avg_pool2d(fine, self.layout.grid(size)), fine

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> GroundResiduals:
        """Return the residuals of images in [0, 1] of the model's size."""
        coarse, fine = self.project(images)
        surfaces = fit_surfaces(coarse, self.layout.surfaces)
        found = (bounded(residual_from_surfaces(one, *surfaces), self.layout.scale) for one in (coarse, fine))
        return GroundResiduals(*(one.to(images.dtype) for one in found))  # computed in 32 bits even for images of 16


def evidence_by_residuals(
    residuals: Float[Tensor, "batch directions rows columns"], scale: float
) -> Float[Tensor, "batch 1 rows columns"]:
    """Return the evidence that each cell is foreground, from 0 to 1: 0 within the ground's usual spread.

    Args:
        residuals: bounded residuals.
        scale: what they were bounded with.
    """
    squared_length = residuals.square().sum(1, keepdim=True).clamp(max=1 - 1e-4)
    squared_distance = scale**2 * squared_length / (1 - squared_length)
    # One half at the distance beyond which a cell is taken for foreground.
    share = squared_distance / (clearly_foreground(residuals.shape[1]) ** 2 + squared_distance)
    return ((share - GROUND_SHARE) / (1 - GROUND_SHARE)).clamp(min=0)
