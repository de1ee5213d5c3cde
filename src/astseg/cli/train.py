"""``astseg train``: train a model on unlabeled images, score it, and write a page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astseg._core.errors import AstSegError
from astseg.cli._console import messages
from astseg.cli._inputs import Reading, prepare
from astseg.cli._models import lasting_name
from astseg.cli._options import (
    Device,
    Every,
    Ignore,
    Masks,
    MaxFrames,
    Quiet,
    Seed,
    Strict,
    find_device,
    parse_changes,
    parse_size,
)
from astseg.cli._processes import joined_processes
from astseg.cli._runs import check_out_folder, print_reasons, resume_run, train_and_score
from astseg.cli._sources import find_given

if TYPE_CHECKING:
    import torch

    from astseg.training.recipe_reasons import RecipeChoice
    from astseg.training.recipe_request import RecipeRequest


def train(
    context: typer.Context,
    source: Annotated[
        list[str] | None,
        typer.Argument(
            help="Folders of images, images, videos, .npy or .npz arrays; or data prepared by 'astseg data'. All that "
            "'astseg segment' takes but live video."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the run.")] = Path("run"),
    preset: Annotated[
        str | None, typer.Option(help="A named recipe; see 'astseg presets'. By default one that suits the machine.")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="A recipe file: the changed output of 'astseg presets NAME', or the folder of another run."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Begin with a trained model in place of random weights: a run, by whose recipe it goes on, or a "
            "model's folder or name, with --preset or --recipe."
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Change a value of the recipe, such as foreground.entropy_weight=1e-3. Repeat it for other values.",
        ),
    ] = None,
    objects: Annotated[
        int | None, typer.Option(help="K, your estimate of the largest number of objects in an image. [default: 8]")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Height x width of the model's images, such as 96x128. By default one that suits them, with a "
            "preset's longer side."
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="How long to train; decides the number of steps. [default: 30, or a preset's own steps]"),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="The number of foreground steps, instead of --minutes.")] = None,
    static: Annotated[
        bool | None,
        typer.Option(
            "--static/--moving",
            help="Whether the camera stands still: one background for all images. By default the images decide.",
        ),
    ] = None,
    textured: Annotated[
        bool | None,
        typer.Option(
            "--textured/--plain",
            help="Whether to tell objects by textures rather than colors. By default the images tell.",
        ),
    ] = None,
    every: Every = 1,
    max_frames: MaxFrames = None,
    precision: Annotated[
        str,
        typer.Option(
            help="What the networks compute in: fp32, tf32 (on NVIDIA GPUs), bf16, or auto (bf16 for SegFormer, the "
            "U-net and AE-NE beside them, where the processor is much faster in it)."
        ),
    ] = "auto",
    accumulate: Annotated[
        int,
        typer.Option(
            min=1,
            help="Put each batch through the networks in this many parts, one after the other: less memory, the same "
            "gradients, but for batch normalization.",
        ),
    ] = 1,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the losses: for large networks on a GPU, whose steps are thousands of small operations. "
            "Needs a C++ compiler, and a minute or two for each phase.",
        ),
    ] = False,
    masks: Masks = None,
    ignore: Ignore = None,
    seed: Seed = 0,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in --out.")] = False,
    strict: Strict = False,
    quiet: Quiet = False,
) -> None:
    """Learn to find the objects in unlabeled images.

    Takes folders of images, videos from a fixed camera, one or several, or prepared data. Whatever you leave open is
    chosen for you: size and background by the images, the number of steps by your time and the speed of the machine.
    Ctrl-C stops after the current step and saves; --resume continues to the same result (on a GPU, up to rounding).
    What goes wrong meanwhile is said, with what to try: objects in the background, empty slots, a rising loss.
    Started by torchrun, several processes share every batch, with the result of one up to rounding.

    ```
    astseg train my-pictures/ --objects 5 --minutes 60 --out my-run
    astseg train my-pictures/ --set foreground.entropy_weight=1e-3 --set architecture.shadows=true --out my-run
    astseg train monday.mp4 tuesday.mp4 --max-frames 2000 --out my-road
    astseg segment my-run more-pictures/ --out masks
    astseg train more-pictures/ --model my-run --minutes 10 --out my-tuned-run
    torchrun --standalone --nproc_per_node 2 -m astseg train my-pictures/ --out my-run
    ```
    """
    from astseg._core.processes import by_first
    from astseg.training.precision import parse_precision
    from astseg.training.recipe_request import RecipeRequest
    from astseg.training.run_folder import RunSettings, read_recipe

    if resume:
        _refuse_run_as_source(source or [], out)
        with joined_processes(find_device(device)) as where:
            resume_run(out, context, str(where), strict=strict)
        return
    if not source:
        raise AstSegError("No source is given. Give a folder of images, a video or prepared data.")
    if model is not None:
        if preset is None and recipe is None:
            recipe = _run_of_model(model)
        model = lasting_name(model)
    request = RecipeRequest(
        preset=preset,
        recipe=read_recipe(recipe) if recipe else None,
        num_slots=objects,
        minutes=minutes,
        steps=steps,
        static=static,
        textured=textured,
        changes=parse_changes(changes or []),
        precision=parse_precision(precision),
        parts=accumulate,
        compiled=compiled,
    )
    images = _GivenImages(source, parse_size(size), Reading(every, max_frames, masks, ignore))
    with joined_processes(find_device(device)) as where:
        by_first(partial(check_out_folder, out))
        if model is not None:
            request, images = _to_suit_model(model, request, images)
        data, name = by_first(partial(_prepare, images, out / "data", request, where))
        choice = _choose_recipe(data, where, request)
        title, stored = f"astseg on {name}", str(data.resolve())
        settings = RunSettings(title, choice.recipe, stored, seed, preset, choice.execution, model)
        train_and_score(out, settings, device=str(where), strict=strict)


@dataclass(frozen=True)
class _GivenImages:
    """The images that the user gives to train on."""

    words: Sequence[str]
    """The sources, as the user names them."""
    size: tuple[int, int] | None
    """The height and width that they are prepared at; by default one that suits them."""
    reading: Reading


def _refuse_run_as_source(words: list[str], out: Path) -> None:
    """Refuse to resume where the run is named as the source, and none lies in the folder for the run.

    Raises:
        AstSegError: it is.
    """
    from astseg.training.run_folder import is_run

    if words and is_run(Path(words[0])) and not is_run(out):
        raise AstSegError(f"{words[0]} is a training run. To resume it, name it by --out.")


def _run_of_model(model: str) -> Path:
    """Return the run whose recipe goes with a model, where none is named.

    Raises:
        AstSegError: the model is not that of a run.
    """
    from astseg.training.run_folder import is_run

    if not is_run(Path(model)):
        raise AstSegError(f"{model} is no run, whose recipe is known. Name its recipe by --preset or --recipe.")
    return Path(model)


def _to_suit_model(model: str, request: "RecipeRequest", images: _GivenImages) -> tuple["RecipeRequest", _GivenImages]:
    """Ask for a recipe that suits a trained model, and for images of its size unless they have or are given one.

    Raises:
        AstSegError: there is no such model, it cannot be read, or it finds no objects.
    """
    from astseg._core.processes import by_first
    from astseg.cli._models import find_architecture
    from astseg.data.store import Store

    trained = by_first(partial(find_architecture, model))
    if images.size is None and not Store.is_store(Path(images.words[0])):
        images = replace(images, size=trained.image_size)
    return replace(request, trained=trained), images


def _prepare(
    images: _GivenImages, destination: Path, request: "RecipeRequest", device: "torch.device"
) -> tuple[Path, str]:
    """Prepare images for a recipe that is still to be chosen; return the data's folder, and what to call the source."""
    from astseg.training.recipe_choice import check_size

    longer_side = max(request.base.architecture.image_size) if request.base else None
    check = partial(check_size, device=device, request=request)
    with find_given(images.words) as places:
        data = prepare(places, destination, images.size, longer_side, images.reading, check_size=check)
        return data, places[0].resolve().name if len(places) == 1 else f"{len(places)} sources"


def _choose_recipe(data: Path, device: "torch.device", request: "RecipeRequest") -> "RecipeChoice":
    """Choose a recipe for prepared images, by measurements in which all processes take part, and print why."""
    from astseg._core.processes import from_first
    from astseg.data.store import Store
    from astseg.training.recipe_choice import choose_recipe

    with messages.status("Choosing a recipe for the images and the machine..."):
        choice = from_first(choose_recipe(Store(data), device, request))
    print_reasons(choice)
    return choice
