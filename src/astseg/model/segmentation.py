"""Segmentation of images of any size into labels and objects."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from astseg._core.image_conversion import ImageInput, to_float_images
from astseg.model.label_rule.applying import apply_label_rule
from astseg.model.label_rule.enlarging import enlarged_labels
from astseg.model.label_rule.second_look import fill_unused_slots
from astseg.model.label_rule.settings import LabelRule
from astseg.model.label_rule.slot_masks import pixels_near_objects
from astseg.model.latents import ObjectLatents
from astseg.model.layer_owners import layer_owners
from astseg.model.rendering import Rendering
from astseg.model.resizing import enlarged_argmax, resized
from astseg.model.single_precision import at_least_single
from astseg.model.slow_features.features import GroundResiduals

if TYPE_CHECKING:
    from astseg.model.ast_seg import AstSeg


@dataclass(frozen=True)
class Segmentation:
    """The objects found in N images. For a single image all fields lack the leading N."""

    labels: Int64[Tensor, "*batch height width"]
    """The slot that owns each pixel, from 1 to K; 0 is the background."""
    positions: Float[Tensor, "*batch slots 2"]
    """x and y of each object's center: -1 and +1 are the image's left and right, top and bottom."""
    scales: Float[Tensor, "*batch slots 2"]
    """Width and height of each object's glimpse as a share of the image's."""
    activations: Float[Tensor, "*batch slots"]
    """The activation of each object in equation 17, to be compared with the background's."""
    appearances: Float[Tensor, "*batch slots appearance"]
    """``z_what``."""

    @property
    def masks(self) -> Bool[Tensor, "*batch slots height width"]:
        """The pixels that each slot owns; empty for a slot that found nothing."""
        slots = torch.arange(1, self.positions.shape[-2] + 1, device=self.labels.device)
        return self.labels[..., None, :, :] == slots[:, None, None]

    def __getitem__(self, index: int) -> "Segmentation":
        """Return the segmentation of one of several images, without a batch dimension.

        Raises:
            TypeError: it is that of a single image.
            IndexError: no image has this number.
        """
        if self.labels.ndim == 2:
            raise TypeError("this is the segmentation of a single image, which cannot be indexed: use its fields")
        if isinstance(index, int) and not -len(self.labels) <= index < len(self.labels):
            raise IndexError(f"there are {len(self.labels)} images, numbered from 0, and none is number {index}")
        return Segmentation(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


def segment(model: "AstSeg", images: ImageInput, *, use_label_rule: bool = True) -> Segmentation:
    """Find the objects in images of any size; see `AstSeg.segment`."""
    batch, single = to_float_images(images, model.background_log_activation.device)
    found, _ = model.segment_with_rendering(batch, use_label_rule=use_label_rule, paint_background=False)
    return found[0] if single else found


@torch.no_grad()
def segment_with_rendering(
    model: "AstSeg", images: Float[Tensor, "batch 3 height width"], use_label_rule: bool, paint_background: bool
) -> tuple[Segmentation, Rendering]:
    """Find the objects in images of any size, and render them; see `AstSeg.segment_with_rendering`."""
    rule = model.label_rule if use_label_rule else None
    with evaluation_mode(model):
        small = resized(images.to(model.background_log_activation.dtype), model.image_size)
        weights, latents, rendering = weigh_layers(model, small, rule, paint_background)
    # One image at a time: K + 1 weights per pixel of many large images would not fit into memory.
    labels = torch.stack([_labels_at_size(one, image, rule) for one, image in zip(weights, images, strict=True)])
    return segmentation_of(labels, latents), rendering


def weigh_layers(
    model: "AstSeg", images: Float[Tensor, "batch 3 height width"], rule: LabelRule | None, paint_background: bool
) -> tuple[Float[Tensor, "batch layers height width"], ObjectLatents, Rendering]:
    """Find the objects in images of the model's own size, and the share of each layer in each pixel, in all looks.

    Args:
        model: in evaluation mode.
        images: in [0, 1].
        rule: how pixels are assigned to layers; None is the paper's rule.
        paint_background: False to leave the background black where the labels do not depend on it.

    Returns:
        The weights, which sum to one over the layers; the objects; and the rendering of the first look.
    """
    residuals = None if model.slow_features is None else model.slow_features(images)
    by_colors = residuals is None and (rule or model.architecture.residual_attention_bias)
    painted = paint_background or by_colors or (rule is not None and rule.noise_multiple)
    background = model.reconstruct_backgrounds(images) if painted else torch.zeros_like(images)
    weights, latents, rendering = _look(model, images, background, residuals, rule)
    for _ in range(rule.looks - 1 if rule else 0):
        explained = pixels_near_objects(weights)
        if residuals is None:
            images = torch.where(explained, background, images)
        else:
            residuals = residuals.without(explained)
        more_weights, more_latents, _ = _look(model, images, background, residuals, rule)
        weights, source_slots = fill_unused_slots(weights, more_weights)
        latents = latents.join(more_latents).take(source_slots)
    return weights, latents, rendering


def _look(
    model: "AstSeg",
    images: Float[Tensor, "batch 3 height width"],
    background: Float[Tensor, "batch 3 height width"],
    residuals: GroundResiduals | None,
    rule: LabelRule | None,
) -> tuple[Float[Tensor, "batch layers height width"], ObjectLatents, Rendering]:
    """Find the objects in images whose background is known, in a single look; see `weigh_layers`."""
    latents = model.encode(images, background, None if residuals is None else residuals.coarse)
    rendering = model.render(latents, background)
    # The label rule counts pixels and compares weights: 16 bits are too few for both.
    exact = rendering._replace(
        weights=at_least_single(rendering.weights),
        layers=at_least_single(rendering.layers),
        background=at_least_single(rendering.background),
        vectors=None if rendering.vectors is None else at_least_single(rendering.vectors),
    )
    if rule is None:
        return exact.weights, latents, rendering
    images = at_least_single(images)
    fine = None if residuals is None else at_least_single(residuals.fine)
    weights, source_slots = apply_label_rule(exact, images, rule, fine, model.background_noise)
    return weights, latents.take(source_slots), rendering


def segmentation_of(labels: Int64[Tensor, "batch height width"], latents: ObjectLatents) -> Segmentation:
    """Return a segmentation, given the owners of the images' pixels and the latents of their objects."""
    return Segmentation(
        labels,
        latents.positions,
        1 / latents.inverse_scales,
        latents.log_activations.exp(),
        latents.appearances,
    )


def _labels_at_size(
    weights: Float[Tensor, "layers rows columns"], image: Float[Tensor, "3 height width"], rule: LabelRule | None
) -> Int64[Tensor, "height width"]:
    """Assign the pixels of one image to layers, given the layers' weights at the model's size."""
    size = image.shape[-2:]
    if size.numel() <= weights[0].numel():
        return layer_owners(resized(weights[None], size))[0]
    if rule is None:
        return enlarged_argmax(weights, size)
    return enlarged_labels(weights, image, rule)


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode. When the last thread leaves this context, the model's own mode is restored."""
    with _switching:
        # Modules may be in different modes: in phase 1 of training only the background is in training mode.
        users, training = _evaluated.get(model) or (0, {module: module.training for module in model.modules()})
        _evaluated[model] = users + 1, training
        model.eval()
    try:
        yield
    finally:
        with _switching:
            users, _ = _evaluated.pop(model)
            if users > 1:
                _evaluated[model] = users - 1, training
            else:
                for module, mode in training.items():
                    module.training = mode


_switching = threading.Lock()
_evaluated: dict[nn.Module, tuple[int, dict[nn.Module, bool]]] = {}
"""For each model, how many threads have it in evaluation mode, and the modes that its modules had before."""
