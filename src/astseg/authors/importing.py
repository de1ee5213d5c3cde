"""Convert an authors' checkpoint to an astseg model that computes the same."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from astseg._core.errors import AstSegError
from astseg._core.text import first_names, format_value
from astseg.authors.checkpoint_file import read_checkpoint_file
from astseg.authors.constants import check_constants, is_constant
from astseg.authors.names import BACKGROUND, FEATURE_MAPS, SEGFORMER, TRANSFORMER, addresses, published_names
from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.backgrounds.ae_ne import published_channels
from astseg.training.presets import get_preset

_FIRST_GLIMPSE_KERNEL = "glimpse_generator.0.convolution.weight"
_PIXEL_ACTIVATIONS = "local_background_activation_logit"
_FREE_SHAPES = {"background_activation_logit", _PIXEL_ACTIVATIONS}
_MAX_LISTED_NAMES = 20


@dataclass(frozen=True)
class Conversion:
    """An imported model, in evaluation mode, and what a user should know about it."""

    model: AstSeg
    notes: tuple[str, ...]


def import_authors_checkpoint(
    path: Path | str, preset: str | Architecture, *, background: Path | str | None = None
) -> AstSeg:
    """Read a checkpoint of the authors' program into a model; see :func:`convert_authors_checkpoint`."""
    return convert_authors_checkpoint(path, preset, background=background).model


def convert_authors_checkpoint(
    path: Path | str, preset: str | Architecture, *, background: Path | str | None = None
) -> Conversion:
    """Read a checkpoint of the authors' program into a model that computes the same in evaluation mode.

    Args:
        path: a ``.pth`` file of the foreground model, with or without its background, or of a background alone.
        preset: the name of the preset that was trained, or an architecture that no preset has.
        background: the file of the background that the foreground was trained on, if its own file has none.

    Raises:
        AstSegError: the file cannot be read, or does not match the preset: weights are missing, left over or of another
            shape, or constants have other values.
    """
    name = "the architecture" if isinstance(preset, Architecture) else f"the preset {preset}"
    described = preset if isinstance(preset, Architecture) else get_preset(preset).recipe.architecture
    if described.background_network not in ("simple", "complex"):
        raise AstSegError(f"The authors trained no model like {name}. Choose one of the paper's presets.")
    weights, unread = read_checkpoint_file(Path(path))
    if background is not None:
        weights = _join_background(weights, Path(background))
    try:
        architecture = _adapt_architecture(described, weights)
        model = AstSeg(architecture)
    except ValueError as error:
        raise AstSegError(f"The checkpoint does not match {name}: {error}. Choose its own preset.") from error
    learned = {key: value for key, value in weights.items() if not is_constant(key)}
    notes = _notes_on_changes(described, architecture)
    if architecture.refinement == "none" and _has_untrained_transformer(weights):
        # The authors' encoder always has a transformer.
        learned = {key: value for key, value in learned.items() if not key.startswith(TRANSFORMER)}
        notes.append("The transformer in the file was never trained, and is left out, as in the preset.")
    if architecture.latents.activation_from_appearance:
        notes.append("Isotropic scaling: the activation is read from z_what's first value, as in training.")
    if not _has_foreground(weights):
        notes.append("Only the background was in the file: the part of the model that finds objects is untrained.")
    if architecture.background_network is None:
        notes.append("The file has no background: the model segments, and renders over backgrounds that it is given.")
    if unread:
        notes.append(f"Not read, since only training needs it: {', '.join(unread)}.")
    state = _match_weights(model, learned, name)
    check_constants(weights, model)
    model.load_state_dict(state, strict=False)  # _match_weights has compared the names
    return Conversion(model.eval(), tuple(notes))


def _has_foreground(names: Iterable[str]) -> bool:
    return not all(name.startswith(BACKGROUND) for name in names)


def _has_background(names: Iterable[str]) -> bool:
    return any(name.startswith(BACKGROUND) for name in names)


def _has_untrained_transformer(weights: Mapping[str, Tensor]) -> bool:
    """Tell whether there is a transformer whose layers are still copies of the first, as they are initialized."""
    layers = {name: value for name, value in weights.items() if name.startswith("transformer.layers.")}
    firsts = (layers.get(re.sub(r"layers\.\d+", "layers.0", name)) for name in layers)
    pairs = zip(firsts, layers.values(), strict=True)
    return bool(layers) and all(first is not None and torch.equal(first, value) for first, value in pairs)


def _join_background(weights: Mapping[str, Tensor], background: Path) -> dict[str, Tensor]:
    if _has_background(weights):
        raise AstSegError("The checkpoint has a background of its own. Leave the other one out.")
    others = read_checkpoint_file(background).weights
    if _has_foreground(others):
        raise AstSegError(
            f"{background} is not the checkpoint of a background alone. Give the file of AE-NE's training."
        )
    return {**weights, **others}


def _adapt_architecture(described: Architecture, weights: Mapping[str, Tensor]) -> Architecture:
    """Return the architecture with the values that vary between checkpoints of one preset read from the weights.

    These are K, the dimension of ``z_what``, the image size of natural video, and the kind of background. Without a
    transformer, no weight shows how the channels are divided between K and the features, so K stays the preset's.
    """
    shapes = _shapes(weights)
    size, glimpses, latents = described.image_size, described.glimpse_channels, described.latents
    if described.per_pixel_background_activation:
        for name in ("background_encoder.0.positional_encoding", _PIXEL_ACTIVATIONS):
            size = (*shapes[name][-2:],) if name in shapes else size
        glimpses = ()  # the default for the size
    if kernel := shapes.get(_FIRST_GLIMPSE_KERNEL):
        latents = replace(latents, appearance_dim=kernel[0], activation_from_appearance=not latents.anisotropic)
    channels = _channels(shapes) if described.refinement == "transformer" else 0
    num_slots = channels - latents.columns if channels else described.num_slots
    background: str | None = described.background_network if _has_background(weights) else None
    if kernel := shapes.get("background_generator.0.upsample.0.convolution.weight"):
        for kind in ("simple", "complex"):
            background = kind if published_channels(size, kind)[1][-2] == kernel[1] else background
    changes = {"image_size": size, "num_slots": num_slots, "background_network": background}
    return replace(described, **changes, latents=latents, glimpse_channels=glimpses)  # type: ignore[arg-type]


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {address: weights[name].shape for address, name in addresses(weights).items()}


def _channels(shapes: Mapping[str, torch.Size]) -> int:
    """Return K + d_phi, the channels of the feature network; 0 if it is not in the file."""
    heads = (f"{SEGFORMER}decode_head.classifier.weight", f"{FEATURE_MAPS}conv1x1.0.convolution.weight")
    return next((shapes[head][0] for head in heads if head in shapes), 0)


def _notes_on_changes(described: Architecture, found: Architecture) -> list[str]:
    values = {
        "K": (described.num_slots, found.num_slots),
        "the dimension of z_what": (described.latents.appearance_dim, found.latents.appearance_dim),
        "the image size": (format_value(described.image_size), format_value(found.image_size)),
        "the background network": (described.background_network, found.background_network),
    }
    differing = {what: pair for what, pair in values.items() if pair[1] not in (pair[0], None)}
    return [f"Read from the checkpoint: {what} is {theirs}, not {ours}." for what, (ours, theirs) in differing.items()]


def _match_weights(model: AstSeg, weights: Mapping[str, Tensor], preset: str) -> dict[str, Tensor]:
    """Return the checkpoint's learned weights under the model's names.

    Raises:
        AstSegError: names or shapes do not match.
    """
    own, alone = model.state_dict(), not _has_foreground(weights)
    names = {
        theirs: ours for theirs, ours in published_names(own).items() if not alone or theirs.startswith(BACKGROUND)
    }
    expected = {theirs: own[ours] for theirs, ours in names.items()}
    wanted, offered = addresses(expected), addresses(weights)
    state, misshapen = {}, []
    for address in wanted.keys() & offered.keys():
        ours, theirs = expected[wanted[address]], weights[offered[address]]
        if theirs.shape == ours.shape or (address in _FREE_SHAPES and theirs.numel() == ours.numel()):
            state[names[wanted[address]]] = theirs.reshape(ours.shape).to(ours.dtype)
        else:
            misshapen.append(f"{offered[address]} ({_shape(theirs)}, expected {_shape(ours)})")
    # Only training needs the number of batches that a normalization has seen.
    missing = [wanted[key] for key in wanted.keys() - offered.keys() if not key.endswith("num_batches_tracked")]
    left_over = [offered[key] for key in offered.keys() - wanted.keys()]
    if missing or left_over or misshapen:
        pairs = [pair for pair in zip(_traits(weights), _traits(expected), strict=True) if all(pair)]
        traits = "; ".join(f"{found}, not {described}" for found, described in pairs if found != described)
        lists = (
            _list_names("Missing", missing)
            + _list_names("Left over", left_over)
            + _list_names("Of another shape", misshapen)
        )
        raise AstSegError(
            f"The checkpoint does not match {preset}{traits and f': it has {traits}'}. Choose its own preset, and "
            f"give the file as it was published; docs/authors-checkpoints.md lists the names.{lists}"
        )
    return state


def _traits(weights: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Describe what distinguishes the weights of one preset from those of another; empty where the weights lack it."""
    shapes = _shapes(weights)

    def parts(prefix: str) -> int:
        return len({name[len(prefix) :].split(".")[0] for name in shapes if name.startswith(prefix)})

    levels, layers = parts(f"{FEATURE_MAPS}downsample_blocks."), parts("glimpse_generator.")
    query, glimpse = shapes.get("latents_projection.weight"), shapes.get(_FIRST_GLIMPSE_KERNEL)
    scales = query[0] - 3 - glimpse[0] if query and glimpse else 0  # beside x, y, activation and z_what
    return (
        f"a U-net of {levels} levels" if levels else "SegFormer",
        "a transformer" if query else "no transformer",
        f"{_channels(shapes)} channels of attention and features",
        {1: "isotropic scaling", 2: "anisotropic scaling"}.get(scales, ""),
        f"glimpses of {2 ** (layers // 2 + 1)} pixels",  # a normalization between every two convolutions
        "an activation for each pixel" if _PIXEL_ACTIVATIONS in shapes else "one background activation",
        f"a background of {parts(BACKGROUND[1])} levels",
    )


def _list_names(what: str, names: list[str]) -> str:
    return f" {what}: {first_names(sorted(names), _MAX_LISTED_NAMES)}." if names else ""


def _shape(value: Tensor) -> str:
    return format_value(tuple(value.shape)) or "a single number"
