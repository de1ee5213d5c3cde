"""The transformer encoder in which the slots attend to each other (section 4.1)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from astseg.model.attention import ObjectQueries


class TransformerRefinement(nn.Module):
    """Refines the K queries jointly, without positional encoding: their order has no meaning.

    Args:
        features: the dimension of a query's feature vector.
        residual: add the transformer's output to the queries, with a last layer initialized to zero, so that training
            starts from the unchanged queries. The paper replaces the queries instead, which needs a small learning
            rate and a long warm-up to be stable.
        dimension: d_T, the transformer's width (Table 6).
        heads: attention heads per layer.
        feedforward: hidden units per layer.
        layers: number of layers.
        dropout: the probability of dropping a unit while training.
    """

    def __init__(
        self,
        features: int,
        *,
        residual: bool = False,
        dimension: int = 256,
        heads: int = 8,
        feedforward: int = 512,
        layers: int = 6,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.residual = residual
        self.embedding = nn.Linear(2 + features, dimension)
        layer = nn.TransformerEncoderLayer(dimension, heads, feedforward, dropout, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.projection = nn.Linear(dimension, 2 + features)
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
