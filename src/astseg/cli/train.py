"""``astseg train``: train a model on unlabeled images, score it, and write a page."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from astseg._core.errors import AstSegError
from astseg.cli._console import messages
from astseg.cli._inputs import prepare
from astseg.cli._options import Device, Ignore, Masks, Seed, find_device, parse_changes, parse_size
from astseg.cli._runs import check_out_folder, print_reasons, resume_run, train_and_score


def train(
    context: typer.Context,
    source: Annotated[
        Path | None,
        typer.Argument(help="A folder of images, a video, an .npy or .npz array, or data prepared by 'astseg data'."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the run.")] = Path("run"),
    preset: Annotated[
        str | None, typer.Option(help="A named recipe; see 'astseg presets'. By default one that suits the machine.")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="A recipe file: the changed output of 'astseg presets NAME', or the run.json of another run."
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
    precision: Annotated[
        str,
        typer.Option(
            help="What SegFormer, the U-net and AE-NE compute in: fp32, bf16, or auto (bf16 where the processor is "
            "much faster in it; other networks stay in fp32)."
        ),
    ] = "auto",
    masks: Masks = None,
    ignore: Ignore = None,
    seed: Seed = 0,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in --out.")] = False,
) -> None:
    """Learn to find the objects in unlabeled images.

    Takes a folder of images, a video from a fixed camera, or prepared data. Whatever you leave open is chosen for you:
    size and background by the images, the number of steps by your time and the speed of the machine.
    Ctrl-C stops after the current step and saves; --resume continues to the same result (on a GPU, up to rounding).

    ```
    astseg train my-pictures/ --objects 5 --minutes 60 --out my-run
    astseg train my-pictures/ --set foreground.entropy_weight=1e-3 --set architecture.shadows=true --out my-run
    astseg segment my-run more-pictures/ --out masks
    ```
    """
    from astseg.data.store import Store
    from astseg.training.auto_config import RecipeRequest, check_size, choose_recipe
    from astseg.training.precision import as_request
    from astseg.training.run import RunSettings, read_recipe

    where = find_device(device)
    if resume:
        resume_run(out, context, device)
        return
    if source is None:
        raise AstSegError("No source is given. Give a folder of images, a video or prepared data.")
    request = RecipeRequest(
        preset=preset,
        recipe=read_recipe(recipe) if recipe else None,
        num_slots=objects,
        minutes=minutes,
        steps=steps,
        static=static,
        textured=textured,
        changes=parse_changes(changes or []),
        precision=as_request(precision),
    )
    check_out_folder(out)
    longer_side = max(request.base.architecture.image_size) if request.base else None
    check = partial(check_size, device=where, request=request)
    data = prepare(source, out / "data", parse_size(size), longer_side, check_size=check, masks=masks, ignore=ignore)
    with messages.status("Choosing a recipe for the images and the machine..."):
        choice = choose_recipe(Store(data), where, request)
    print_reasons(choice)
    settings = RunSettings(
        f"astseg on {source.resolve().name}", choice.recipe, str(data.resolve()), seed, preset, choice.precision
    )
    train_and_score(out, settings, device=device)
