"""What images show by themselves: a camera that stands still, textures, a ground of several surfaces."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from astseg._core.image_conversion import scale_uint8_images
from astseg._core.sampling import evenly_spaced
from astseg.data.store import Bytes
from astseg.model.backgrounds.light import estimate_light
from astseg.model.slow_features.features import SlowFeatureLayout, SlowFeatures
from astseg.model.slow_features.ground import border, far_border, fit_ground, ground_residual
from astseg.model.slow_features.responses import gaussian_blur
from astseg.training.batches import TrainingImages
from astseg.training.residuals import fit_projection

MAX_STATIC_IMAGES = 200
"""The number of images by which ``static_share`` and ``texture_strength`` are measured."""
MAX_BORDER_IMAGES = 40
"""The number of images by which ``far_border_share`` is measured."""
MEDIAN_ROUNDS = 2
"""How often images are brought into the light of their median for ``static_share``."""
MIN_STATIC_IMAGES = 10
"""Fewer images do not show what comes and goes."""
STATIC_DISTANCE = 0.25
"""A pixel matches the median if their difference, summed over the channels, is smaller; pixels lie in [0, 1]."""


def static_share(images: Bytes) -> float:
    """Return the share of pixels that match the median image, as a value that nine of ten images reach or exceed.

    It is near 1 for a camera that stands still, whatever passes in front of it and however the light changes. It is
    near 0 if each image has a background of its own, or if the camera has moved once, and 0 for fewer than ten images.
    The median is taken of equally light images, and is brought into the light of each image to compare them
    (`estimate_light`).

    Args:
        images: images as bytes, of which up to 200 evenly spaced ones are used.

    >>> static_share(np.zeros((10, 2, 2, 3), np.uint8))
    1.0
    """
    if len(images) < MIN_STATIC_IMAGES:
        return 0.0
    chosen = _evenly_chosen(images)
    median = _median_image(chosen)
    for _ in range(MEDIAN_ROUNDS):  # the first median is one of images in different light
        light = torch.stack([estimate_light(image[None], median).exp().mean() for image in chosen])
        median = _median_image(chosen / light[:, None, None, None])
    shares = [
        ((image - median * factor).abs().sum(0) < STATIC_DISTANCE).double().mean()
        for image, factor in zip(chosen, light, strict=True)
    ]
    return float(torch.stack(shares).quantile(0.1))


def texture_strength(images: Bytes) -> float:
    """Return how far the pixels of a typical image are from their blurred surroundings: how strong its pattern is.

    This is the median over images of the median over pixels of the difference from a Gaussian blur of one pixel, summed
    over the channels. It is near 0 on plain walls, skies and floors, of which images without textures mostly consist.

    Args:
        images: images as bytes, at the size of the model, of which up to 200 evenly spaced ones are used.

    >>> texture_strength(np.zeros((2, 8, 8, 3), np.uint8))
    0.0
    """
    chosen = _evenly_chosen(images)
    pattern = (chosen - gaussian_blur(chosen, 1.0)).abs().sum(1)
    return float(pattern.flatten(1).median(1).values.median())


def _evenly_chosen(images: Bytes) -> Float[Tensor, "batch 3 height width"]:
    return scale_uint8_images(torch.from_numpy(np.array(images[evenly_spaced(len(images), MAX_STATIC_IMAGES)])))


def _median_image(images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "3 height width"]:
    return torch.from_numpy(np.median(images.numpy(), 0))  # torch's is the lower of two in the middle


def far_border_share(images: Bytes, layout: SlowFeatureLayout) -> float:
    """Return the share of the images' borders that clearly does not show the largest surface of their ground.

    Objects seldom reach the border: the share is large only if the ground has several surfaces.

    Args:
        images: images as bytes, at the size of the model, of which up to 40 evenly spaced ones are used.
        layout: the slow features by which surfaces are told apart.
    """
    chosen = TrainingImages(images[evenly_spaced(len(images), MAX_BORDER_IMAGES)], torch.device("cpu"))
    features = SlowFeatures(layout)
    fit_projection(features, chosen, 0, lambda what, done, total: None)
    far = []
    for index in range(len(chosen)):
        coarse, _ = features.project(chosen[np.array([index])])
        far.append(far_border(ground_residual(coarse, fit_ground(coarse))))
    return float(torch.cat(far).sum() / (len(far) * border(far[0].shape[1:]).sum()))
