"""The transformer encoder in which the slots attend to each other (section 4.1)."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from astseg._core.settings_io import SIZE, Range, check_values
from astseg.model.attention import ObjectQueries
from astseg.model.own_networks import build_own

Refinement: TypeAlias = Literal["transformer", "residual", "none"]
"""``transformer`` replaces the queries, as in the paper; ``residual`` adds to them; ``none`` leaves them unchanged."""

MAX_LAYERS = 1000


@dataclass(frozen=True)
class TransformerLayout:
    """The size of the transformer encoder. The defaults are the paper's (Table 6)."""

    dimension: int = 256
    """d_T, its width."""
    heads: int = 8
    """Attention heads of a layer."""
    feedforward: int = 512
    """Hidden units of a layer."""
    layers: int = 6
    """Encoder layers."""
    dropout: float = 0.1
    """The probability of dropping a unit while training."""

    def __post_init__(self) -> None:
        sizes = {"dimension": SIZE, "heads": SIZE, "feedforward": SIZE, "layers": Range(1, MAX_LAYERS)}
        check_values(self, **sizes, dropout=Range(0, below=1))
        if self.dimension % self.heads:
            raise ValueError(f"heads should be a divisor of dimension ({self.dimension}), not {self.heads}")


class TransformerRefinement(nn.Module):
    """Refines the K queries jointly, without positional encoding: their order has no meaning.

    Args:
        features: the dimension of a query's feature vector.
        residual: add the transformer's output to the queries, with a last layer initialized to zero, so that training
            starts from the unchanged queries. The paper replaces the queries instead, which needs a small learning
            rate and a long warm-up to be stable.
        layout: the transformer's size.
    """

    def __init__(
        self, features: int, *, residual: bool = False, layout: TransformerLayout = TransformerLayout()
    ) -> None:
        super().__init__()
        self.residual = residual
        self.embedding = nn.Linear(2 + features, layout.dimension)
        layer = nn.TransformerEncoderLayer(
            layout.dimension, layout.heads, layout.feedforward, layout.dropout, batch_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, layout.layers, enable_nested_tensor=False)
        self.projection = nn.Linear(layout.dimension, 2 + features)
        if residual:
            nn.init.zeros_(self.projection.weight)
            nn.init.zeros_(self.projection.bias)

    def forward(self, queries: ObjectQueries) -> ObjectQueries:
        """Refine positions and features. Positions may leave [-1, 1] here; `read_latents` clamps them."""
        triplets: Float[Tensor, "batch slots columns"] = torch.cat((queries.positions, queries.features), -1)
        refined = self.projection(self.transformer(self.embedding(triplets)))
        if self.residual:
            refined = triplets + refined
        return ObjectQueries(refined[..., :2], refined[..., 2:])


class NoRefinement(nn.Module):
    """Leaves the queries unchanged: the row "model without transformer encoder" of Table 4."""

    def forward(self, queries: ObjectQueries) -> ObjectQueries:
        """Return the queries."""
        return queries


def build_refinement(refinement: Refinement | str, columns: int, layout: TransformerLayout) -> Any:
    """Build the module that refines the queries.

    Args:
        refinement: the kind of module.
        columns: the dimension of a query's feature vector.
        layout: the size of the transformer, for the kinds that have one.

    Raises:
        AstSegError: the network is somebody's own, and is not registered.
    """
    match refinement:
        case "none":
            return NoRefinement()
        case "transformer" | "residual":
            return TransformerRefinement(columns, residual=refinement == "residual", layout=layout)
    return build_own("refinement", refinement, columns)
