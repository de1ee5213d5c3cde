"""From an authors' checkpoint to an astseg model that computes the same."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from astseg.authors.architecture import Inference, background_architecture, background_notes, foreground_architecture
from astseg.authors.checkpoint_file import read_checkpoint_file
from astseg.authors.constants import without_constants
from astseg.authors.names import TRANSFORMER, addresses, published_names
from astseg.authors.shapes import (
    background_networks,
    background_picture_size,
    foreground_shapes,
    has_background,
    has_foreground,
    has_trained_transformer,
)
from astseg.errors import UserError
from astseg.model.ast_seg import AstSeg
from astseg.presets import Preset, find_preset

AUTHORS_BACKGROUND_RANGE = 255.0
"""The authors' programs show their background networks pictures from 0 to 255."""
_RESHAPED = {"background_activation_logit", "local_background_activation_logit"}
_LISTED = 20


@dataclass(frozen=True)
class Conversion:
    """An imported model, in evaluation mode, and what a user should know about it."""

    model: AstSeg
    notes: tuple[str, ...]


def import_authors_checkpoint(
    path: Path | str,
    preset: str | None = None,
    *,
    background: Path | str | None = None,
    background_range: float = AUTHORS_BACKGROUND_RANGE,
) -> AstSeg:
    """Read a checkpoint of the authors' program into a model; see :func:`convert_authors_checkpoint`."""
    return convert_authors_checkpoint(path, preset, background=background, background_range=background_range).model


def convert_authors_checkpoint(
    path: Path | str,
    preset: str | None = None,
    *,
    background: Path | str | None = None,
    background_range: float = AUTHORS_BACKGROUND_RANGE,
) -> Conversion:
    """Read a checkpoint of the authors' program into a model that computes the same in evaluation mode.

    Args:
        path: a ``.pth`` file of the foreground model, with or without its background, or of a background alone.
        preset: the name of what was trained; it tells the range of scales, and is held against the shapes. Without
            one, the paper's values are taken where the shapes do not tell.
        background: the file of the background that a foreground was trained on, where its own file has none.
        background_range: the largest value in the pictures that the background network was trained to see.

    Raises:
        UserError: the file cannot be read, is not what the preset describes, or weights are missing, left over,
            of another shape, or constants of other values.
    """
    chosen = find_preset(preset) if preset else None
    weights, unread = read_checkpoint_file(Path(path))
    if background is not None:
        weights = _joined(weights, Path(background))
    found = _infer(weights, chosen, background_range)
    model = AstSeg(found.architecture)
    notes = list(found.notes)
    if has_foreground(weights) and not has_background(weights):
        notes.append("No background is in the file: the model segments, and paints over backgrounds it is given.")
    if unread:
        notes.append(f"Only needed for training and not read: {', '.join(unread)}.")
    if found.architecture.refinement == "none" and not has_trained_transformer(weights):
        weights = {name: value for name, value in weights.items() if not name.startswith(TRANSFORMER)}
    state = _matched(model, without_constants(weights, model), alone=not has_foreground(weights))
    model.load_state_dict(state, strict=False)  # _matched was strict, in the checkpoint's own words
    return Conversion(model.eval(), tuple(notes))


def _joined(weights: Mapping[str, Tensor], background: Path) -> dict[str, Tensor]:
    if has_background(weights):
        raise UserError("The checkpoint has a background of its own. Leave the other one out.")
    others = read_checkpoint_file(background).weights
    if has_foreground(others):
        raise UserError(f"{background} is not the checkpoint of a background alone. Give the file of AE-NE's training.")
    return {**weights, **others}


def _infer(weights: Mapping[str, Tensor], preset: Preset | None, background_range: float) -> Inference:
    size = background_picture_size(weights)
    if not has_foreground(weights):
        size = size or (preset.recipe.architecture.image_size if preset else None)
        if size is None:
            raise UserError("The checkpoint does not show the size of its pictures. Name its preset.")
        return background_architecture(size, *background_networks(weights, size, background_range), preset)
    architecture, notes = foreground_architecture(foreground_shapes(weights), preset, size)
    if has_background(weights):
        complexity, layout = background_networks(weights, architecture.image_size, background_range)
        architecture = replace(architecture, background_network=complexity, background_layout=layout)
        notes += background_notes(architecture.image_size, complexity, layout, preset)
    return Inference(architecture, notes)


def _matched(model: AstSeg, weights: Mapping[str, Tensor], *, alone: bool) -> dict[str, Tensor]:
    """The checkpoint's weights by the model's names.

    Args:
        model: the model to be filled.
        weights: the checkpoint's, without constants.
        alone: whether only the background is to be filled.

    Raises:
        UserError: the two do not match, weight by weight.
    """
    state = model.state_dict()
    ours = {
        theirs: (name, state[name])
        for theirs, name in published_names(state).items()
        if name.startswith("background.") or not alone
    }
    wanted = addresses({name: value for name, (_, value) in ours.items()})
    offered = addresses(weights)
    matched, misshapen = {}, []
    for address in wanted.keys() & offered.keys():
        name, expected = ours[wanted[address]]
        found = weights[offered[address]]
        if found.shape == expected.shape or (address in _RESHAPED and found.numel() == expected.numel()):
            matched[name] = found.reshape(expected.shape).to(expected.dtype)
        else:
            misshapen.append(f"{offered[address]} ({_shape(found)}, expected {_shape(expected)})")
    # How many batches a normalisation has seen is only counted for training.
    missing = [wanted[key] for key in wanted.keys() - offered.keys() if not key.endswith("num_batches_tracked")]
    left_over = [offered[key] for key in offered.keys() - wanted.keys()]
    if missing or left_over or misshapen:
        lists = _listed("Missing", missing) + _listed("Left over", left_over) + _listed("Of another shape", misshapen)
        raise UserError(
            f"The checkpoint does not fit the model that its shapes describe.{lists} "
            "Give the file as it was published; docs/authors-checkpoints.md lists the names."
        )
    return matched


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f" {what}: {', '.join(sorted(names)[:_LISTED])}{more}."


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "a single number"
