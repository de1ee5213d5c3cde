"""AST-Seg: the whole flow from a picture to its objects and back (Fig. 1 of the paper)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelHubMixin, hf_hub_download
from jaxtyping import Bool, Float, Int64
from safetensors.torch import load_file, save
from torch import Tensor, nn

from astseg.errors import UserError
from astseg.files import written_whole
from astseg.model.architecture import Architecture
from astseg.model.attention import gather_queries, unexplained
from astseg.model.background import build_background
from astseg.model.feature_maps import build_feature_maps
from astseg.model.glimpses import GlimpseGenerator
from astseg.model.labelling import posterior_weights
from astseg.model.latents import ObjectLatents, read_latents
from astseg.model.places import SlotPlaces
from astseg.model.refinement import NoRefinement, TransformerRefinement
from astseg.model.rendering import Rendering, composite, compositing_weights, place, presence, shaded
from astseg.model.resizing import resized
from astseg.plain import from_plain, to_plain

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
OVERSHOOT = 0.5
"""How far beyond [0, 1] the values of a picture may lie, as those of sharpened and resized ones do at edges."""
FORMAT_VERSION = 2


@dataclass(frozen=True)
class Segmentation:
    """The objects found in N pictures. For a single picture the leading N is absent everywhere."""

    labels: Int64[Tensor, "*batch height width"]
    """The slot that owns each pixel, from 1 to K; 0 is the background."""
    masks: Bool[Tensor, "*batch slots height width"]
    """The pixels that each slot owns; empty for a slot that found nothing."""
    positions: Float[Tensor, "*batch slots 2"]
    """x and y of each object's centre: -1 and +1 are the picture's left and right, top and bottom."""
    scales: Float[Tensor, "*batch slots 2"]
    """Width and height of each object's glimpse as a share of the picture's."""
    activations: Float[Tensor, "*batch slots"]
    """How strongly each object claims its pixels; compare with the background's."""
    appearances: Float[Tensor, "*batch slots appearance"]
    """``z_what``."""


class AstSeg(
    nn.Module,
    ModelHubMixin,
    library_name="astseg",
    tags=["object-centric-learning", "unsupervised-segmentation"],
    license="mit",
    pipeline_tag="image-segmentation",
):
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
        """K, the largest number of objects in a picture."""
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
            images: pictures in [0, 1] of the model's own size.
            backgrounds: their backgrounds, for a model that attends to what they leave unexplained; painted by the
                background network if they are not given.
        """
        maps = self.feature_maps(images)
        logits, features = torch.split(maps, [self.slots, maps.shape[1] - self.slots], 1)
        if self.architecture.attention_to_unexplained:
            known = self._backgrounds(images) if backgrounds is None else backgrounds
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
        """Find the objects and put the pictures together again.

        Args:
            images: pictures in [0, 1] of the model's own size.
            backgrounds: their backgrounds where they are known already; by default the background network paints them.
            shadows: whether objects throw their shadows, if the architecture has any.

        Raises:
            ValueError: no backgrounds came, and the model has no background network.
        """
        known = self._backgrounds(images) if backgrounds is None else backgrounds
        return self.render(self.encode(images, known), known, shadows=shadows)

    def reconstruct(self, images: Float[Tensor, "batch 3 height width"]) -> Rendering:
        """Like calling the model, but in evaluation mode and without gradients.

        Args:
            images: pictures in [0, 1] of the model's own size, on the model's device.

        Raises:
            ValueError: the shape, the type or the range is not that of pictures of the model's size.
        """
        height, width = self.image_size
        shape = f"N x 3 x {height} x {width}"
        _check_pictures(images, "reconstruct()", shape)
        if images.ndim != 4 or images.shape[2:] != self.image_size:
            raise ValueError(f"reconstruct() takes pictures of shape {shape}, not {_described(images)}")
        with torch.no_grad(), _evaluating(self):
            rendering: Rendering = self(images.to(self.background_log_activation.dtype))
        return rendering

    @torch.no_grad()
    def segment(
        self, images: Float[Tensor, "*batch 3 height width"], *, by_weights_alone: bool = False
    ) -> Segmentation:
        """Find the objects in pictures of any size.

        The pictures are resized to the model's size, and the compositing weights back to the pictures', where each
        pixel goes to the layer with the largest. No image of the background is needed, and the background network only
        where the architecture attends to what it leaves unexplained or has a label rule. The model is used in
        evaluation mode and left in the mode it was in.

        Args:
            images: N pictures or a single one, in [0, 1], on the model's device.
            by_weights_alone: the paper's rule, even if the architecture has another.

        Raises:
            ValueError: the shape, the type or the range is not that of pictures.
        """
        _check_pictures(images, "segment()", "N x 3 x H x W or 3 x H x W")
        batch = (images if images.ndim == 4 else images[None]).to(self.background_log_activation.dtype)
        rule = None if by_weights_alone else self.architecture.label_rule
        with _evaluating(self):
            small = resized(batch, self.image_size)
            needs_background = rule or self.architecture.attention_to_unexplained
            # No weight depends on the picture of the background.
            background = self._backgrounds(small) if needs_background else torch.zeros_like(small)
            rendering = self.render(self.encode(small, background), background)
        weights = posterior_weights(rendering, small, rule) if rule else rendering.weights
        # One picture at a time: K + 1 weights for each pixel of many large pictures would not fit.
        labels = torch.stack([resized(single[None], batch.shape[-2:])[0].argmax(0) for single in weights])
        slots = torch.arange(1, self.slots + 1, device=labels.device)
        latents = rendering.latents
        found = (
            labels,
            labels[:, None] == slots[:, None, None],
            latents.positions,
            1 / latents.inverse_scales,
            latents.log_activations.exp(),
            latents.appearances,
        )
        return Segmentation(*(found if images.ndim == 4 else (part[0] for part in found)))

    def _backgrounds(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        if self.background is None:
            raise ValueError("this model has no background network: hand in the backgrounds")
        return self.background(images).image  # type: ignore[no-any-return]

    def _background_log_activation(self) -> Float[Tensor, "#height #width"]:
        activation = self.background_log_activation.view(1, 1)
        return activation if self.pixel_log_activation is None else activation + self.pixel_log_activation

    def _save_pretrained(self, save_directory: Path) -> None:
        config = {"format_version": FORMAT_VERSION, "model": to_plain(self.architecture)}
        weights = {name: value.contiguous() for name, value in self.state_dict().items()}
        with written_whole(save_directory / WEIGHTS_FILE) as partial:
            partial.write_bytes(save(weights))  # save_file would let nobody but its owner read the file
        with written_whole(save_directory / CONFIG_FILE) as partial:
            partial.write_text(json.dumps(config, indent=2) + "\n")

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> "AstSeg":
        """Read a saved model, in evaluation mode.

        Args:
            pretrained_model_name_or_path: a folder, or a name on the model hub.
            options: the hub's: revision, cache_dir, force_download, local_files_only, token.

        Raises:
            UserError: the folder holds no model of this version, or one that cannot be read.
        """
        if Path(pretrained_model_name_or_path).is_dir():
            # The mixin reads this file too, and would answer a damaged one with a traceback.
            _read_architecture(Path(pretrained_model_name_or_path) / CONFIG_FILE)
        return super().from_pretrained(pretrained_model_name_or_path, **options)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        **_: object,
    ) -> "AstSeg":
        def find(name: str) -> Path:
            if Path(model_id).is_dir():
                return Path(model_id) / name
            return Path(
                hf_hub_download(
                    model_id,
                    name,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                )
            )

        config = find(CONFIG_FILE)
        try:
            model = cls(_read_architecture(config))
        except (ValueError, TypeError, RuntimeError) as error:
            raise UserError(f"{config} describes no model that can be built: {error}.") from error
        _load_weights(model, find(WEIGHTS_FILE))
        return model.eval()


def _check_pictures(images: Tensor, taker: str, shape: str) -> None:
    """Refuse what is no pictures: from other programs come bytes, arrays, and values up to 255."""
    pictures = isinstance(images, Tensor) and images.ndim in (3, 4) and images.shape[-3] == 3
    if not pictures or not images.is_floating_point() or not images.numel():
        raise ValueError(f"{taker} takes floating-point pictures of shape {shape} in [0, 1], not {_described(images)}")
    low, high = (float(value) for value in images.aminmax())
    if not -OVERSHOOT <= low <= high <= 1 + OVERSHOOT:
        raise ValueError(f"{taker} takes pictures in [0, 1], not with values from {low:g} to {high:g}")


def _described(images: object) -> str:
    return f"{images.dtype} of shape {tuple(images.shape)}" if isinstance(images, Tensor) else str(type(images))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    # Parts may be in different modes: phase 1 of training holds the background alone in training mode.
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


def _read_architecture(file: Path) -> Architecture:
    try:
        content = json.loads(file.read_text())
        version = content["format_version"]
        if version not in (1, FORMAT_VERSION):
            raise UserError(
                f"{file} is of format version {version}; this astseg reads up to {FORMAT_VERSION}. "
                "Use the version of astseg that wrote the model."
            )
        return from_plain(Architecture, content["model"])
    except OSError as error:
        raise UserError(
            f"Cannot read {file}: {error.strerror}. A model is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} does not describe an astseg model: {error}.") from error


def _load_weights(model: nn.Module, file: Path) -> None:
    try:
        found = load_file(file)
    except Exception as error:  # safetensors raises types of its own, and OSError
        raise UserError(f"Cannot read the weights in {file}: {error}.") from error
    expected = model.state_dict()
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    misshapen = sorted(name for name in expected.keys() & found.keys() if expected[name].shape != found[name].shape)
    if missing or extra or misshapen:
        raise UserError(
            f"{file} holds the weights of another configuration: "
            f"{_few('missing', missing)}, {_few('not expected', extra)}, {_few('of another shape', misshapen)}."
        )
    model.load_state_dict(found)


def _few(what: str, names: list[str]) -> str:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} {what}" + (f" ({shown})" if names else "")
