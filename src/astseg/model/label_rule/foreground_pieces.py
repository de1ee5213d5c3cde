"""Foreground divided among the slots. Not in the paper.

Before a static background, the noise shows more reliably than the slots what is foreground: slots miss objects that are
small, or unlike all that they learned. The slots tell which foreground belongs together.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from scipy import ndimage
from torch import Tensor

from astseg._core.connected_pieces import connected_pieces
from astseg.model.layer_owners import layer_owners

MIN_SHARE = 0.2
"""A slot that owns less of a connected piece of foreground does not divide it."""


def explain_foreground(
    weights: Float[Tensor, "batch layers height width"], foreground: Float[Tensor, "batch layers=2 height width"]
) -> Float[Tensor, "batch layers height width"]:
    """Give all foreground to objects, and no other pixels.

    Each connected piece of foreground is divided among the slots that own a fifth or more of it: a pixel goes to the
    nearest of these slots. A piece without such slots goes to the slot with the largest weight in it; `split_parts` can
    make it an object of its own.

    Args:
        weights: the weights of the background and the slots, which sum to one.
        foreground: the weights of the background and the foreground, which sum to one (`foreground_weights`).

    Returns:
        Weights that sum to one over the layers. Each pixel is shared by the background and one slot.
    """
    pieces = layer_owners(foreground).bool().cpu().numpy()
    owners = layer_owners(weights).cpu().numpy()
    slots = [
        _nearest_slots(_divided(piece, owner, one))
        for piece, owner, one in zip(pieces, owners, weights.cpu().numpy(), strict=True)
    ]
    chosen = torch.from_numpy(np.stack(slots)).to(weights.device)[:, None]
    found = torch.zeros_like(weights).scatter_(1, chosen, foreground[:, 1:])
    found[:, :1] = foreground[:, :1]
    return found


def _divided(
    foreground: Bool[np.ndarray, "height width"],
    owners: Int64[np.ndarray, "height width"],
    weights: Float[np.ndarray, "layers height width"],
) -> Int64[np.ndarray, "height width"]:
    """Return the slot of each pixel of the foreground, from 1 on; 0 elsewhere."""
    divided = np.zeros_like(owners)
    numbered = connected_pieces(foreground)
    for number, where in enumerate(ndimage.find_objects(numbered), 1):
        piece = numbered[where] == number
        pixels = np.bincount(owners[where][piece], minlength=len(weights))
        pixels[0] = 0
        large = pixels >= max(1, MIN_SHARE * piece.sum())
        if large.any():
            slots = _nearest_slots(np.where(piece & large[owners[where]], owners[where], 0))
        else:
            slots = 1 + weights[1:, *where][:, piece].sum(1).argmax()
        divided[where] = np.where(piece, slots, divided[where])
    return divided


def _nearest_slots(slots: Int64[np.ndarray, "height width"]) -> Int64[np.ndarray, "height width"]:
    """Return for each pixel the slot of the nearest pixel that has one; 1 if none has."""
    if not slots.any():
        return np.ones_like(slots)
    nearest = ndimage.distance_transform_edt(slots == 0, return_distances=False, return_indices=True)
    return np.asarray(slots[tuple(nearest)])
