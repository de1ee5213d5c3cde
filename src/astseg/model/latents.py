"""The latents read from a refined query: position, inverse scale, activation, appearance.

Only this file knows the order of a query's columns: inverse scale (one, or two for x and y), activation (one),
appearance ``z_what`` (the rest).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from astseg._core.settings_io import SIZE, Range, check_values
from astseg.model.attention import ObjectQueries


class ObjectLatents(NamedTuple):
    """The latent variables of K objects."""

    positions: Float[Tensor, "batch slots 2"]
    """x and y of the center, in [-1, 1]."""
    inverse_scales: Float[Tensor, "batch slots 2"]
    """The image's width and height in glimpses."""
    log_activations: Float[Tensor, "batch slots"]
    """The logarithm of the activation of equation 17."""
    appearances: Float[Tensor, "batch slots appearance"]
    """``z_what``."""

    def join(self, others: "ObjectLatents") -> "ObjectLatents":
        """Return these objects and, behind them, others of the same images."""
        return ObjectLatents(*(torch.cat(pair, 1) for pair in zip(self, others, strict=True)))

    def take(self, source_slots: Int64[Tensor, "batch slots"]) -> "ObjectLatents":
        """Return the latents of each slot's source in place of its own."""
        index = torch.arange(source_slots.shape[0], device=source_slots.device)[:, None], source_slots
        return ObjectLatents(*(part[index] for part in self))


@dataclass(frozen=True)
class LatentLayout:
    """How the columns of a query are interpreted (section 4.1, Table 6)."""

    appearance_dim: int = 32
    """The dimension of ``z_what``."""
    anisotropic: bool = False
    """Whether width and height have separate scales."""
    min_inverse_scale: float = 1.3
    """1 or more, so that no glimpse is larger than the image."""
    max_inverse_scale: float = 24.0
    """Bounded, so that a glimpse always has a gradient."""
    initial_inverse_scale: float | None = None
    """The inverse scale at a column value of zero, in (minimum, maximum); None for the middle, as in the paper."""
    activation_from_appearance: bool = False
    """Read the activation from the first value of ``z_what``, as the authors' program did with isotropic scaling.
    Only for weights trained in this way."""

    def __post_init__(self) -> None:
        check_values(self, appearance_dim=SIZE, min_inverse_scale=Range(1))
        if self.activation_from_appearance and self.anisotropic:
            raise ValueError("activation_from_appearance is for isotropic scaling: one of the two should be off")
        least, most, start = self.min_inverse_scale, self.max_inverse_scale, self.initial_inverse_scale
        if not least < most:
            raise ValueError(f"max_inverse_scale should be above min_inverse_scale ({least}), not {most}")
        if start is not None and not least < start < most:
            raise ValueError(f"initial_inverse_scale should be above {least} and below {most}, not {start}")

    @property
    def scale_columns(self) -> int:
        """The number of columns that hold the inverse scale."""
        return 2 if self.anisotropic else 1

    @property
    def columns(self) -> int:
        """The dimension of a query's feature vector, d_phi."""
        return self.scale_columns + 1 + self.appearance_dim

    @property
    def scale_offset(self) -> float:
        """The offset of a scale column at which zero gives the initial inverse scale."""
        if self.initial_inverse_scale is None:
            return 0.0
        span = self.max_inverse_scale - self.min_inverse_scale
        share = (self.initial_inverse_scale - self.min_inverse_scale) / span
        return float(torch.logit(torch.tensor(share, dtype=torch.float64)))


def read_latents(queries: ObjectQueries, layout: LatentLayout) -> ObjectLatents:
    """Read the latents of all objects from the refined queries (Algorithm 1, last lines)."""
    scale, activation, appearances = torch.split(queries.features, [layout.scale_columns, 1, layout.appearance_dim], -1)
    span = layout.max_inverse_scale - layout.min_inverse_scale
    inverse_scales = layout.min_inverse_scale + span * torch.sigmoid(scale + layout.scale_offset)
    return ObjectLatents(
        positions=queries.positions.clamp(-1, 1),
        inverse_scales=inverse_scales.expand(*inverse_scales.shape[:-1], 2),
        log_activations=appearances[..., 0] if layout.activation_from_appearance else activation.squeeze(-1),
        appearances=appearances,
    )
