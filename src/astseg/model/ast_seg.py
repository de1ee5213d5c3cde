"""AST-Seg: the whole flow from an image to its objects and back (Fig. 1 of the paper)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from astseg._core.image_conversion import ImageInput, check_float_images, describe
from astseg.model.architecture import Architecture
from astseg.model.attention import gather_queries, unexplained
from astseg.model.background import build_background
from astseg.model.feature_maps import build_feature_maps
from astseg.model.glimpses import GlimpseGenerator
from astseg.model.latents import ObjectLatents, read_latents
from astseg.model.refinement import NoRefinement, TransformerRefinement
from astseg.model.rendering import Rendering, composite, compositing_weights, place, presence, shaded
from astseg.model.segmentation import Segmentation, evaluating, segment
from astseg.model.serialization import SavedModel
from astseg.model.slot_prior import SlotPlaces


class AstSeg(SavedModel):
    """Unsupervised multi-object segmentation using attention and soft-argmax.

    A new model has random weights. ``AstSeg.from_pretrained`` reads a saved one from a folder or the hub, and
    ``save_pretrained`` writes one.

    Raises:
        ValueError: the architecture's networks cannot work at its image size.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        layout = architecture.latents
        self.feature_maps = build_feature_maps(
            architecture.feature_network, architecture.image_size, architecture.slots + layout.columns
        )
        self.refinement = (
            NoRefinement()
            if architecture.refinement == "none"
            else TransformerRefinement(layout.columns, residual=architecture.refinement == "residual")
        )
        self.places = SlotPlaces(architecture.slots) if architecture.slot_places else None
        self.glimpse_generator = GlimpseGenerator(
            layout.appearance, architecture.glimpse_channels, shadows=architecture.shadows
        )
        self.background_log_activation = nn.Parameter(
            torch.tensor(float(architecture.initial_background_log_activation))
        )
        self.pixel_log_activation = (
            nn.Parameter(torch.zeros(architecture.image_size)) if architecture.per_pixel_background_activation else None
        )
        self.background = (
            build_background(architecture.background_network, architecture.image_size, architecture.background_layout)
            if architecture.background_network
            else None
        )

    @property
    def slots(self) -> int:
        """K, the largest number of objects in an image."""
        return self.architecture.slots

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width that the model works at."""
        return self.architecture.image_size

    def encode(
        self,
        images: Float[Tensor, "batch 3 height width"],
        backgrounds: Float[Tensor, "batch 3 height width"] | None = None,
    ) -> ObjectLatents:
        """Find the objects: Algorithm 1.

        Args:
            images: images in [0, 1] of the model's own size.
            backgrounds: their backgrounds, for a model that attends to what they leave unexplained; painted by the
                background network if they are not given.
        """
        maps = self.feature_maps(images)
        logits, features = torch.split(maps, [self.slots, maps.shape[1] - self.slots], 1)
        if self.architecture.attention_to_unexplained:
            known = self.backgrounds_of(images) if backgrounds is None else backgrounds
            attraction = unexplained(images, known, (logits.shape[-2], logits.shape[-1]))
            logits = logits + self.architecture.attention_to_unexplained * attraction
        if self.places is not None:
            logits = logits + self.places((logits.shape[-2], logits.shape[-1]), self.architecture.corner_convention)
        queries = self.refinement(gather_queries(logits, features, self.architecture.corner_convention))
        return read_latents(queries, self.architecture.latents)

    def render(
        self, latents: ObjectLatents, background: Float[Tensor, "batch 3 height width"], *, shadows: bool = True
    ) -> Rendering:
        """Paint the objects over a background: Algorithm 2.

        Args:
            latents: what to paint.
            background: what to paint it on.
            shadows: whether objects throw their shadows, if the architecture has any.
        """
        painted = self.glimpse_generator(latents.appearances.flatten(0, 1))
        glimpses = painted.view(len(latents.positions), self.slots, *painted.shape[1:])
        placed = place(glimpses, latents.positions, latents.inverse_scales, self.image_size)
        layers, *single = torch.split(placed, [3] + [1] * (placed.shape[2] - 3), 2)
        masks, *cast = (channel.squeeze(2) for channel in single)
        weights = compositing_weights(masks, latents.log_activations, self._background_log_activation())
        if cast and shadows:
            background = shaded(background, cast[0] * presence(weights)[..., None, None])
        return Rendering(composite(weights, background, layers), weights, layers, masks, background, latents)

    def forward(
        self,
        images: Float[Tensor, "batch 3 height width"],
        backgrounds: Float[Tensor, "batch 3 height width"] | None = None,
        *,
        shadows: bool = True,
    ) -> Rendering:
        """Find the objects and put the images together again.

        Args:
            images: images in [0, 1] of the model's own size.
            backgrounds: their backgrounds where they are known already; by default the background network paints them.
            shadows: whether objects throw their shadows, if the architecture has any.

        Raises:
            ValueError: no backgrounds came, and the model has no background network.
        """
        known = self.backgrounds_of(images) if backgrounds is None else backgrounds
        return self.render(self.encode(images, known), known, shadows=shadows)

    def reconstruct(self, images: Float[Tensor, "batch 3 height width"]) -> Rendering:
        """Like calling the model, but in evaluation mode and without gradients.

        Args:
            images: images in [0, 1] of the model's own size, on the model's device.

        Raises:
            ValueError: the shape, the type or the range is not that of images of the model's size.
        """
        height, width = self.image_size
        shape = f"N x 3 x {height} x {width}"
        check_float_images(images, shape)
        if images.ndim != 4 or images.shape[2:] != self.image_size:
            raise ValueError(f"expected images of shape {shape}, not {describe(images)}")
        with torch.no_grad(), evaluating(self):
            rendering: Rendering = self(images.to(self.background_log_activation.dtype))
        return rendering

    def segment(self, images: ImageInput, *, by_weights_alone: bool = False) -> Segmentation:
        """Find the objects in images of any size.

        The images are resized to the model's size, and the compositing weights back to the images', where each pixel
        goes to the layer with the largest. No image of the background is needed, and the background network only where
        the architecture attends to what it leaves unexplained or has a label rule. The model is used in evaluation
        mode and left in the mode it was in.

        Args:
            images: one image, or several of one size: a tensor N x 3 x H x W or 3 x H x W in [0, 1] (or bytes), an
                array N x H x W x 3 or H x W x 3 of bytes or in [0, 1], a PIL image, a path, or a list of these.
            by_weights_alone: the paper's rule, even if the architecture has another.

        Raises:
            ValueError: one of them is no image, or they are of several sizes.
            AstSegError: a file cannot be read.
        """
        return segment(self, images, by_weights_alone=by_weights_alone)

    def backgrounds_of(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        """Paint the backgrounds of images of the model's own size.

        Raises:
            ValueError: the model has no background network.
        """
        if self.background is None:
            raise ValueError("this model has no background network: hand in the backgrounds")
        return self.background(images).image  # type: ignore[no-any-return]

    def _background_log_activation(self) -> Float[Tensor, "#height #width"]:
        activation = self.background_log_activation.view(1, 1)
        return activation if self.pixel_log_activation is None else activation + self.pixel_log_activation
