"""AST-Seg: the whole network, from an image to its objects and back (Fig. 1 of the paper)."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from astseg._core.arguments import check_kind
from astseg._core.image_conversion import ImageInput, check_float_images, check_mean, describe_type
from astseg._core.tensors import is_plain
from astseg._core.text import format_value
from astseg.model.architecture import Architecture
from astseg.model.attention import evidence_by_colors, gather_queries, spatial_softmax
from astseg.model.backgrounds.base import BackgroundReconstruction
from astseg.model.backgrounds.build import build_background
from astseg.model.backgrounds.static import StaticBackground
from astseg.model.features.build import build_feature_maps
from astseg.model.glimpses import GlimpseGenerator, split_channels, split_colors
from astseg.model.label_rule.settings import NO_NOISE, LabelRule
from astseg.model.latents import ObjectLatents, read_latents
from astseg.model.refinement import build_refinement
from astseg.model.rendering import (
    Rendering,
    apply_shadows,
    composite,
    compositing_weights,
    place_glimpses,
    slot_presence,
)
from astseg.model.resizing import resized
from astseg.model.segmentation import Segmentation, evaluation_mode, segment, segment_with_rendering
from astseg.model.serialization import SavedModel
from astseg.model.single_precision import single_precision
from astseg.model.slot_prior import SlotPositionPrior
from astseg.model.slow_features.features import SlowFeatures, evidence_by_residuals
from astseg.model.slow_features.ground import bounded


class AstSeg(SavedModel):
    """Unsupervised multi-object segmentation using attention and soft-argmax.

    A new model has random weights. ``AstSeg.from_pretrained`` reads a saved one from a folder or the hub, and
    ``save_pretrained`` writes one.

    Args:
        architecture: the networks and what they compute.
        label_rule: how pixels are assigned to layers when an image is segmented; None is the paper's rule, the largest
            weight. Training does not use it. It needs the background network.

    Raises:
        ValueError: a network cannot work at the image size, or the label rule needs another background network.
        TypeError: these are no architecture and no label rule.
        AstSegError: a network is somebody's own, and is not registered.
    """

    def __init__(self, architecture: Architecture, label_rule: LabelRule | None = None) -> None:
        super().__init__()
        check_kind("architecture", architecture, Architecture)
        self.architecture = architecture
        layout = architecture.latents
        slow = architecture.slow_features
        self.grid = slow.grid(architecture.image_size) if slow else architecture.image_size
        """Rows and columns of what slots learn to explain: the pixels of an image, or the cells of slow features."""
        self.feature_maps = build_feature_maps(
            architecture.feature_network,
            self.grid,
            architecture.num_slots + layout.columns,
            feature_channels=slow.directions + 1 + 3 if slow else None,
        )
        self.refinement = build_refinement(architecture.refinement, layout.columns, architecture.transformer)
        self.places = SlotPositionPrior(architecture.num_slots) if architecture.slot_position_prior else None
        self.glimpse_generator = GlimpseGenerator(
            layout.appearance_dim, architecture.glimpse_channels, shadows=architecture.shadows
        )
        self.background_log_activation = nn.Parameter(
            torch.tensor(float(architecture.initial_background_log_activation))
        )
        self.pixel_log_activation = (
            nn.Parameter(torch.zeros(architecture.image_size)) if architecture.per_pixel_background_activation else None
        )
        self.background = (
            build_background(architecture.background_network, architecture.image_size)
            if architecture.background_network
            else None
        )
        self.label_rule = label_rule
        self.slow_features = SlowFeatures(slow) if slow else None
        self.vector_head = nn.Linear(layout.appearance_dim, slow.directions) if slow else None

    @property
    def label_rule(self) -> LabelRule | None:
        """How pixels are assigned to layers when an image is segmented; None for the largest weight, as in the paper.

        Another one can be set at any time, since nothing learns from it.

        Raises:
            ValueError: it needs another background network, when it is set.
        """
        return self._label_rule

    @label_rule.setter
    def label_rule(self, rule: LabelRule | None) -> None:
        check_kind("label_rule", rule, LabelRule, optional=True)
        if rule is not None and self.background is None:
            raise ValueError("a label rule needs a background network")
        if rule is not None and rule.noise_multiple and self.background_noise is None:
            raise ValueError(NO_NOISE)
        self._label_rule = rule

    @property
    def num_slots(self) -> int:
        """K, the largest number of objects in an image."""
        return self.architecture.num_slots

    @property
    def background_noise(self) -> Float[Tensor, "height width"] | None:
        """The noise of a static background; None for other networks."""
        return self.background.noise if isinstance(self.background, StaticBackground) else None

    @property
    def pixels_per_cell(self) -> int:
        """How many pixels of an image a cell of the grid stands for: 1 for a model of colors."""
        return 1 if self.slow_features is None else self.slow_features.layout.stride**2

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images that the networks work on."""
        return self.architecture.image_size

    def encode(
        self,
        images: Float[Tensor, "batch 3 height width"],
        backgrounds: Float[Tensor, "batch 3 height width"] | None = None,
        residuals: Float[Tensor, "batch directions rows columns"] | None = None,
    ) -> ObjectLatents:
        """Find the objects: Algorithm 1.

        Args:
            images: images in [0, 1] of the model's own size.
            backgrounds: their backgrounds, used only with a residual attention bias; by default the background network
                reconstructs them.
            residuals: their coarse ground residuals, for a model of slow features; computed if they are not given.

        Raises:
            ValueError: the images have another size or type (`segment` takes any) or, on a CPU, a mean far from [0, 1];
                or the backgrounds have another size or type.
        """
        self._check_images(images)
        if backgrounds is not None:
            _check_backgrounds(backgrounds, images.shape)
        self._check_residuals(residuals)
        latents, _ = self._encode(images, backgrounds, residuals)
        return latents

    def _encode(
        self, images: Tensor, backgrounds: Tensor | None, residuals: Tensor | None
    ) -> tuple[ObjectLatents, Tensor]:
        """Return the objects and the attention maps by which they were found; see `encode`, which checks the images."""
        logits, features = self._logits_and_features(images, backgrounds, residuals)
        with single_precision(logits):
            attention = spatial_softmax(logits)
            queries = self.refinement(gather_queries(attention, features, self.architecture.corner_convention))
            return read_latents(queries, self.architecture.latents), attention

    def attention_maps(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch slots rows columns"]:
        """Return where each slot looks (equation 11) in evaluation mode and without gradients.

        A map sums to one over its cells; its size is that of the feature network's maps. Its center of mass is the
        slot's position before the refinement.

        Args:
            images: images in [0, 1] of the model's own size, on the model's device.

        Raises:
            ValueError: the images have another size or type or, on a CPU, a mean far from [0, 1].
        """
        self._check_images(images)
        with torch.no_grad(), evaluation_mode(self):
            return spatial_softmax(self._logits_and_features(images)[0])

    def _logits_and_features(
        self, images: Tensor, backgrounds: Tensor | None = None, residuals: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the attention logits of all slots and the map that is pooled; the arguments are those of `encode`."""
        inputs = images
        if self.slow_features is not None:
            residuals = self.slow_features(images).coarse if residuals is None else residuals
            length = residuals.square().sum(1, keepdim=True)
            inputs = torch.cat((residuals, length, resized(images, self.grid) - 0.5), 1)
        maps = self.feature_maps(inputs).to(inputs.dtype)  # under autocast they may have fewer bits
        if maps.shape[1] != self.num_slots + self.architecture.latents.columns:
            raise ValueError(
                f"the feature network should return {self.num_slots} + {self.architecture.latents.columns} channels, "
                f"one for each slot and the columns of a query, not {maps.shape[1]}"
            )
        with single_precision(maps):
            logits, features = torch.split(maps, [self.num_slots, maps.shape[1] - self.num_slots], 1)
            size = (logits.shape[-2], logits.shape[-1])
            if self.architecture.residual_attention_bias:
                attraction = self.foreground_evidence(images, size, backgrounds, residuals)
                logits = logits + self.architecture.residual_attention_bias * attraction
            if self.places is not None:
                logits = logits + self.places(size, self.architecture.corner_convention)
        return logits, features

    def foreground_evidence(
        self,
        images: Float[Tensor, "batch 3 height width"],
        size: tuple[int, int],
        backgrounds: Float[Tensor, "batch 3 height width"] | None = None,
        residuals: Float[Tensor, "batch directions rows columns"] | None = None,
    ) -> Float[Tensor, "batch 1 map_height map_width"]:
        """Return the evidence that each cell of a map is foreground, from 0 to 1: by slow features, else by colors.

        Args:
            images: images in [0, 1] of the model's own size.
            size: rows and columns of the map.
            backgrounds: their backgrounds; painted by the background network if they are needed and not given.
            residuals: their coarse ground residuals; computed if they are needed and not given.
        """
        if self.slow_features is not None:
            residuals = self.slow_features(images).coarse if residuals is None else residuals
            return F.adaptive_avg_pool2d(evidence_by_residuals(residuals, self.slow_features.layout.scale), size)
        known = self.reconstruct_backgrounds(images) if backgrounds is None else backgrounds
        return evidence_by_colors(images, known, size)

    def render(
        self, latents: ObjectLatents, background: Float[Tensor, "batch 3 height width"], *, shadows: bool = True
    ) -> Rendering:
        """Paint the objects over a background: Algorithm 2.

        Args:
            latents: the objects.
            background: the images to paint them on, of any size, in [0, 1].
            shadows: whether objects cast their shadows, if the architecture has any.

        Raises:
            TypeError: these are no latents.
            ValueError: the background is no batch of images.
        """
        check_kind("latents", latents, ObjectLatents)
        _check_backgrounds(background)
        with single_precision(background):
            return self._paint(latents, background, shadows=shadows)

    def _paint(self, latents: ObjectLatents, background: Tensor, *, shadows: bool) -> Rendering:
        """Paint the objects over a background; see `render`, which checks the arguments and sets the precision."""
        painted = self.glimpse_generator(latents.appearances.flatten(0, 1))
        glimpses = painted.view(latents.positions.shape[0], self.num_slots, *painted.shape[1:])
        size = (background.shape[-2], background.shape[-1])
        geometry = latents.positions, latents.inverse_scales
        if self.vector_head is None:
            placed = place_glimpses(glimpses, *geometry, size)
        else:  # slots explain slow features: the colors follow the masks and move neither them nor the glimpses
            positions, inverse_scales = (part.detach() for part in geometry)
            colors, others = split_colors(glimpses)
            colors = place_glimpses(colors, positions, inverse_scales, size)
            placed = torch.cat((colors, place_glimpses(others, *geometry, size)), 2)
        layers, masks, cast = split_channels(placed)
        weights = compositing_weights(masks, latents.log_activations, self._background_log_activation(size))
        if cast is not None and shadows:
            pixels_per_cell = math.prod(self.image_size) / math.prod(size)  # of what it is painted on
            present = slot_presence(weights, pixels_per_cell)
            # Detached: masks should not make way for shadows.
            background = apply_shadows(background, cast * present[..., None, None], weights[:, 0].detach())
        vectors = None
        if self.vector_head is not None:
            vectors = bounded(self.vector_head(latents.appearances).movedim(-1, 1), 1.0).movedim(1, -1)
        shares = weights if vectors is None else weights.detach()
        return Rendering(composite(shares, background, layers), weights, layers, masks, background, latents, vectors)

    def forward(
        self,
        images: Float[Tensor, "batch 3 height width"],
        backgrounds: Float[Tensor, "batch 3 rows columns"] | None = None,
        residuals: Float[Tensor, "batch directions rows columns"] | None = None,
        *,
        shadows: bool = True,
    ) -> Rendering:
        """Find the objects and reconstruct the images, at the size of the backgrounds.

        Args:
            images: images in [0, 1] of the model's own size.
            backgrounds: their backgrounds, if already known; by default the background network reconstructs them.
            residuals: their coarse ground residuals, for a model of slow features; computed if they are not given.
            shadows: whether objects cast their shadows, if the architecture has any.

        Raises:
            ValueError: neither backgrounds nor a background network are given, or the images have another size or type
                or, on a CPU, a mean far from [0, 1].
        """
        self._check_images(images)
        self._check_residuals(residuals)
        known = self.reconstruct_backgrounds(images) if backgrounds is None else backgrounds
        _check_backgrounds(known, images.shape[:2])
        seen = resized(known, self.image_size) if self.slow_features is None else None
        latents, attention = self._encode(images, seen, residuals)
        return self.render(latents, known, shadows=shadows)._replace(attention=attention)

    def reconstruct(self, images: Float[Tensor, "batch 3 height width"]) -> Rendering:
        """Reconstruct images in evaluation mode and without gradients.

        Args:
            images: images in [0, 1] of the model's own size, on the model's device.

        Raises:
            ValueError: the images have another size or type, or values outside [0, 1].
        """
        height, width = self.image_size
        shape = f"N x 3 x {height} x {width}"
        check_float_images(images, shape)
        if images.ndim != 4 or images.shape[2:] != self.image_size:
            raise ValueError(f"expected images of shape {shape}, not {describe_type(images)}")
        with torch.no_grad(), evaluation_mode(self):
            rendering: Rendering = self(images.to(self.background_log_activation.dtype))
        return rendering

    def segment(self, images: ImageInput, *, use_label_rule: bool = True) -> Segmentation:
        """Find the objects in images of any size.

        The images are resized to the model's size and the compositing weights back to the size of the images, where
        each pixel is assigned to the layer with the largest weight. With a label rule, the edges and colors of larger
        images move the weights first (`sharpen_weights`). The background network is needed only for a residual
        attention bias or a label rule. The model runs in evaluation mode; its own mode is restored.

        Args:
            images: one image, or several of one size: a tensor N x 3 x H x W or 3 x H x W in [0, 1] (or bytes), an
                array N x H x W x 3 or H x W x 3 of bytes or in [0, 1], a PIL image, a path, or a list of these.
            use_label_rule: False to use the paper's rule even if the model has another.

        Raises:
            ValueError: an argument is not an image, or the images differ in size.
            AstSegError: a file cannot be read.
        """
        return segment(self, images, use_label_rule=use_label_rule)

    def segment_with_rendering(
        self,
        images: Float[Tensor, "batch 3 height width"],
        *,
        use_label_rule: bool = True,
        paint_background: bool = True,
    ) -> tuple[Segmentation, Rendering]:
        """Find the objects in images of any size, and return their rendering, too.

        Args:
            images: in [0, 1], on the model's device.
            use_label_rule: False to use the paper's rule even if the model has another.
            paint_background: False to leave the background black unless the labels depend on it: the background network
                is then not run, and need not exist.

        Returns:
            The objects at the size of the images, and the rendering at the model's size.

        Raises:
            ValueError: the background is to be painted, but the model has no background network.
        """
        return segment_with_rendering(self, images, use_label_rule, paint_background)

    def reconstruct_backgrounds(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """Reconstruct the backgrounds of images of the model's own size.

        Raises:
            ValueError: the model has no background network, or the images have another size or type or, on a CPU, a
                mean far from [0, 1].
        """
        if self.background is None:
            raise ValueError("this model has no background network: pass the backgrounds")
        self._check_images(images)
        reconstruction: BackgroundReconstruction = self.background(images)
        return reconstruction.image

    def _check_images(self, images: Tensor) -> None:
        """Raise a ValueError unless images have the model's size, type and device, and on a CPU a mean near [0, 1].

        SegFormer would take another size, but see objects of sizes that it never learned. Of the values, the mean alone
        is looked at, which takes no time beside a network.
        """
        height, width = self.image_size
        own = self.background_log_activation
        dense = is_plain(images) or (isinstance(images, Tensor) and images.is_meta)  # meta counts what a step takes
        shaped = dense and images.ndim == 4 and images.shape[1:] == (3, *self.image_size)
        if not (shaped and images.is_floating_point()):
            raise ValueError(
                f"expected floating-point images of the model's own size, N x 3 x {height} x {width}, "
                f"not {describe_type(images)}; segment takes bytes, and images of any size"
            )
        if images.shape[0] == 0 or (images.dtype, images.device) != (own.dtype, own.device):
            raise ValueError(
                f"expected floating-point images of the model's own type, {own.dtype} on {own.device}, "
                f"not {describe_type(images)} on {images.device}; segment takes others"
            )
        check_mean(images)

    def _check_residuals(self, residuals: Tensor | None) -> None:
        """Refuse residuals of another shape than the model's own; a model of colors has no use for any."""
        if residuals is None or self.slow_features is None:
            return
        shape = (self.slow_features.layout.directions, *self.grid)
        if not isinstance(residuals, Tensor) or residuals.ndim != 4 or residuals.shape[1:] != shape:
            raise ValueError(
                f"expected coarse ground residuals N x {format_value(shape)}, not {describe_type(residuals)}"
            )

    def _background_log_activation(self, size: tuple[int, int]) -> Float[Tensor, "#height #width"]:
        """Return the background's log activation at each pixel of a size, or one for all pixels."""
        activation = self.background_log_activation.view(1, 1)
        if self.pixel_log_activation is None:
            return activation
        return activation + resized(self.pixel_log_activation[None, None], size)[0, 0]


def _check_backgrounds(backgrounds: object, beginning: Sequence[object] = ()) -> None:
    """Raise a ValueError unless backgrounds are a batch of images, whose shape begins with these numbers."""
    if not isinstance(backgrounds, Tensor) or backgrounds.ndim != 4 or backgrounds.shape[1] != 3:
        raise ValueError(f"expected backgrounds N x 3 x H x W, not {describe_type(backgrounds)}")
    if backgrounds.shape[: len(beginning)] != beginning:
        raise ValueError(
            f"expected backgrounds for images of shape {tuple(beginning)}, not {describe_type(backgrounds)}"
        )
