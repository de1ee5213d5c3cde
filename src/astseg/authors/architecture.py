"""The architecture of an imported model: what the shapes say, held against the preset, which says the rest."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from astseg.authors.shapes import Complexity, ForegroundShapes
from astseg.errors import UserError
from astseg.model.architecture import Architecture, Refinement
from astseg.model.background import BackgroundLayout, published_layout
from astseg.model.glimpses import published_glimpse_channels
from astseg.model.latents import LatentLayout
from astseg.presets import PRESETS, Preset, small_recipe

BENCHMARKS_LATENTS = LatentLayout()
VIDEO_LATENTS = PRESETS["natural-video"].recipe.architecture.latents


class Inference(NamedTuple):
    """An architecture, and what a user should know about how it was found."""

    architecture: Architecture
    notes: tuple[str, ...]


def foreground_architecture(
    shapes: ForegroundShapes,
    preset: Preset | None,
    background_size: tuple[int, int] | None,
) -> Inference:
    """Find the architecture of a foreground model; its background network is left out.

    Args:
        shapes: what the checkpoint's weights say.
        preset: what it is said to be. Needed for the range of scales, which no weight shows, and without a
            transformer also for the scaling; by default the paper's range, or natural video's.
        background_size: height and width of the pictures by the background's networks, if there are any.

    Raises:
        UserError: the preset describes another model, or the shapes do not say enough without one.
    """
    expected = preset.recipe.architecture if preset else None
    notes: list[str] = []
    refinement = _refinement(shapes, expected, notes)
    anisotropic = _anisotropic(shapes, expected)
    scales = expected.latents if expected else _usual_scales(shapes, notes)
    latents = LatentLayout(
        appearance=shapes.appearance,
        anisotropic=anisotropic,
        minimum_inverse_scale=scales.minimum_inverse_scale,
        maximum_inverse_scale=scales.maximum_inverse_scale,
        activation_from_appearance=not anisotropic,
    )
    if not anisotropic:
        notes.append("Isotropic scaling: the activation is read from z_what's first value, as in training.")
    image_size = _image_size(shapes, expected, background_size)
    try:
        found = Architecture(
            image_size=image_size,
            slots=shapes.channels - latents.columns,
            feature_network=shapes.feature_network,
            refinement=refinement,
            latents=latents,
            glimpse_channels=shapes.glimpse_channels or published_glimpse_channels(image_size),
            per_pixel_background_activation=shapes.picture_size is not None,
            background_network=None,
        )
    except ValueError as error:
        raise UserError(f"The checkpoint's shapes fit no model: {error}.") from error
    if preset:
        notes += _compared(found, preset)
    return Inference(found, tuple(notes))


def background_architecture(
    image_size: tuple[int, int], complexity: Complexity, layout: BackgroundLayout, preset: Preset | None
) -> Inference:
    """The architecture around a checkpoint of the background alone; the rest of the model stays untrained.

    Raises:
        UserError: the preset's pictures have another size.
    """
    if preset and preset.recipe.architecture.image_size != image_size:
        _refuse(preset, [_difference("image size", preset.recipe.architecture.image_size, image_size)])
    around = (preset.recipe if preset else small_recipe(image_size, 1)).architecture
    only = "Only the background was in the file: the part of the model that finds objects is untrained."
    notes = (only, *background_notes(image_size, complexity, layout, preset))
    return Inference(replace(around, background_network=complexity, background_layout=layout), notes)


def background_notes(
    image_size: tuple[int, int], complexity: Complexity, layout: BackgroundLayout, preset: Preset | None
) -> tuple[str, ...]:
    """What a user should know of a background whose channels are not those that were to be expected."""
    published = published_layout(image_size, complexity)
    if replace(published, largest_value=layout.largest_value) != layout:
        return (
            "The background's channels are neither of AE-NE's published lists and were read from the checkpoint: "
            f"encoder {_size(layout.encoder_channels)}, decoder {_size(layout.decoder_channels)}.",
        )
    expected = preset.recipe.architecture.background_network if preset else None
    if expected in ("simple", "complex") and expected != complexity:
        difference = _difference("background network", expected, complexity)
        return (f"Read from the checkpoint in place of the preset's: {difference}.",)
    return ()


def _refinement(shapes: ForegroundShapes, expected: Architecture | None, notes: list[str]) -> Refinement:
    if shapes.features is None:
        return "none"
    if expected and expected.refinement == "none" and not shapes.trained_transformer:
        # The authors' encoder builds its transformer in any case. One that was never used was never trained, and
        # torch starts all layers of a transformer as copies of the first.
        notes.append("The transformer in the file was never trained, and is left out as the preset says.")
        return "none"
    return "transformer"


def _anisotropic(shapes: ForegroundShapes, expected: Architecture | None) -> bool:
    if shapes.features is not None:
        scale_columns = shapes.features - 1 - shapes.appearance
        if scale_columns not in (1, 2):
            raise UserError(
                f"The transformer works on {shapes.features} features and z_what has {shapes.appearance}: expected "
                f"2 or 3 more than z_what's, for scale and activation."
            )
        return scale_columns == 2
    if expected is None:
        raise UserError(
            "Without a transformer the checkpoint does not show how many objects it looks for. "
            "Name its preset, for instance --preset clevrtex-no-transformer."
        )
    if shapes.channels != expected.slots + expected.latents.scale_columns + 1 + shapes.appearance and (
        not expected.per_pixel_background_activation
    ):
        raise UserError(
            f"The checkpoint has {shapes.channels} channels for attention and features, the preset's {expected.slots} "
            f"objects need {expected.slots + expected.latents.scale_columns + 1 + shapes.appearance}. "
            "Name the preset of this checkpoint."
        )
    return expected.latents.anisotropic


def _usual_scales(shapes: ForegroundShapes, notes: list[str]) -> LatentLayout:
    """The range of scales that goes with a background activation for each pixel or a single one."""
    video = shapes.picture_size is not None
    scales = VIDEO_LATENTS if video else BENCHMARKS_LATENTS
    notes.append(
        f"No preset was named: inverse scales are taken to end at {scales.maximum_inverse_scale:g}, as for "
        f"{'natural video' if video else 'the benchmarks'}."
    )
    return scales


def _image_size(
    shapes: ForegroundShapes, expected: Architecture | None, background_size: tuple[int, int] | None
) -> tuple[int, int]:
    """The size on which all that shows one agrees."""
    step = 1 if shapes.feature_network == "unet" else 4
    known = {size for size in (shapes.picture_size, background_size) if size}
    if not known and expected and (shapes.map_size is None or _map_size(expected.image_size, step) == shapes.map_size):
        known = {expected.image_size}
    if not known and shapes.map_size:
        known = {(step * shapes.map_size[0], step * shapes.map_size[1])}
    if not known:
        raise UserError("The checkpoint does not show the size of its pictures. Name its preset.")
    if len(known) > 1:
        raise UserError(
            f"The parts of the checkpoint are for pictures of different sizes: {_list(map(_size, sorted(known)))}. "
            "Give a background of the foreground's size."
        )
    return known.pop()


def _map_size(image_size: tuple[int, int], step: int) -> tuple[int, int]:
    return -(-image_size[0] // step), -(-image_size[1] // step)


def _compared(found: Architecture, preset: Preset) -> list[str]:
    """Refuse what shows that the preset is another model's, and note what may vary from checkpoint to checkpoint."""
    expected = preset.recipe.architecture
    wrong = [
        _difference(what, theirs, ours)
        for what, theirs, ours in (
            ("feature network", _kind(expected.feature_network), _kind(found.feature_network)),
            ("refinement", expected.refinement, found.refinement),
            ("anisotropic scaling", expected.latents.anisotropic, found.latents.anisotropic),
            (
                "activation per background pixel",
                expected.per_pixel_background_activation,
                found.per_pixel_background_activation,
            ),
        )
        if theirs != ours
    ]
    varying = [
        _difference(what, theirs, ours)
        for what, theirs, ours in (
            ("feature network", expected.feature_network, found.feature_network),
            ("K", expected.slots, found.slots),
            ("dimension of z_what", expected.latents.appearance, found.latents.appearance),
        )
        if theirs != ours
    ]
    if expected.image_size != found.image_size:
        # Each film has its own size; the benchmarks have one.
        of_a_film = expected.per_pixel_background_activation
        (varying if of_a_film else wrong).append(_difference("image size", expected.image_size, found.image_size))
    if wrong:
        _refuse(preset, wrong)
    return [f"Read from the checkpoint in place of the preset's: {_list(varying)}."] if varying else []


def _kind(network: str) -> str:
    return network.partition("-")[0] if network.startswith("segformer") else network


def _refuse(preset: Preset, differences: Sequence[str]) -> None:
    raise UserError(
        f"The checkpoint is not what the preset {preset.name} describes: {_list(differences)}. "
        "Name its own preset, or none where its shapes say enough."
    )


def _difference(what: str, expected: object, found: object) -> str:
    return f"{what} {_size(found)}, not {_size(expected)}"


def _size(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _list(parts: Sequence[str] | map) -> str:  # type: ignore[type-arg]
    return "; ".join(parts)
