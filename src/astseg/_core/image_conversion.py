"""Pictures between bytes, as files and stores keep them, and numbers in [0, 1], as the model takes them."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def to_images(pictures: UInt8[Tensor, "batch height width 3"]) -> Float[Tensor, "batch 3 height width"]:
    """Turn stored bytes into pictures in [0, 1], channels first in shape and last in memory."""
    return pictures.permute(0, 3, 1, 2).float().div_(255)


def as_pictures(
    images: UInt8[np.ndarray, "batch height width 3"], device: torch.device | str
) -> Float[Tensor, "batch 3 height width"]:
    """Images as a store keeps them, as the floating-point pictures in [0, 1] that the model takes."""
    return to_images(torch.from_numpy(np.array(images)).to(device))


def as_bytes(pictures: Float[Tensor, "batch 3 height width"]) -> UInt8[np.ndarray, "batch height width 3"]:
    """Pictures in [0, 1] as bytes, rounded; what lies outside is clipped."""
    scaled = (pictures.detach().clamp(0, 1) * 255).round().to(torch.uint8)
    array: UInt8[np.ndarray, "batch height width 3"] = scaled.permute(0, 2, 3, 1).cpu().numpy()
    return array
