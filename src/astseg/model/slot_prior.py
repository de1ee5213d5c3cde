"""A preferred position for each slot. Not in the paper."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from astseg.model.attention import CornerConvention, coordinate_map


class SlotPositionPrior(nn.Module):
    """Attention logits that fall with the squared distance from a slot's preferred position, which is learned.

    Where many small objects look alike, a slot cannot tell which of them is its own: its attention spreads over all,
    and their mean position may hold no object. With a preferred position each slot starts with the objects near it.

    A new prior and its gradients are zero until ``training.slot_places.place_slots`` places the slots where
    objects are.

    Args:
        num_slots: K.
    """

    def __init__(self, num_slots: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.zeros(num_slots, 2))  # spelled as in saved models
        """x and y of each slot's preferred position, in the frame of ``soft_argmax``."""
        self.inverse_widths = nn.Parameter(torch.zeros(num_slots, 2))
        """One over the standard deviation of the attention along x and y where the other logits are constant."""

    def forward(
        self, map_size: tuple[int, int], convention: CornerConvention
    ) -> Float[Tensor, "slots map_height map_width"]:
        """Return the logits of all cells of a map: 0 at a slot's preferred position, negative elsewhere."""
        coordinates = coordinate_map(map_size, convention, like=self.centres)
        distances = (coordinates - self.centres[:, :, None, None]) * self.inverse_widths[:, :, None, None]
        return -distances.square().sum(1) / 2
