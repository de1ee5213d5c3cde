"""``astseg train`` and ``astseg demo``: from images to a model, its scores and a page to look at."""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astseg._core.errors import AstSegError
from astseg.cli.bars import progress
from astseg.cli.console import (
    Device,
    Ignore,
    Masks,
    Stopped,
    find_device,
    messages,
    output,
    parse_changes,
    parse_size,
    patient_interrupt,
    print_table,
)
from astseg.cli.preparing import make_scenes, prepare

if TYPE_CHECKING:
    from astseg.model.ast_seg import AstSeg
    from astseg.training.auto_config import RecipeChoice
    from astseg.training.run import RunSettings

DEMO_TRAIN, DEMO_TEST = 8_000, 500
FIRST_LOOK_FILE = "first-look.png"
FIRST_LOOK_IMAGES = 12
FIRST_LOOK_SEED = 2023  # of rooms that neither the model that comes with astseg nor the demo's has learned from

OPTIONS = {"preset": "--preset", "num_slots": "--objects", "static": "--static or --moving"}
"""The options for fields of `RecipeRequest` that the user may have left open."""

Seed = Annotated[int, typer.Option(help="Decides the first weights and the order of the images.", min=0)]


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
            help="A recipe of your own: what 'astseg presets NAME' prints, changed; or another run's run.json."
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Change one value of the recipe, such as foreground.entropy_weight=1e-3; again for another.",
        ),
    ] = None,
    objects: Annotated[
        int | None, typer.Option(help="Your guess of the largest number of objects in an image (K). [default: 8]")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Height x width to work at, such as 96x128. By default one that suits the images, with a preset's "
            "longer side."
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="How long to train; decides the steps. [default: 30, or the preset's own steps]"),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Foreground steps, in place of --minutes.")] = None,
    static: Annotated[
        bool | None,
        typer.Option(
            "--static/--moving",
            help="Whether all images show one place, from a camera that stands still. By default the images tell.",
        ),
    ] = None,
    masks: Masks = None,
    ignore: Ignore = None,
    seed: Seed = 0,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
) -> None:
    """Learn to find the objects in images that nobody has labeled.

    Works on a folder of images, a video from a fixed camera, or prepared data. Choices that you do not make are made
    for you: size and background from the images, the steps from the time you give and the speed of the machine.
    Ctrl-C stops after the step and saves; --resume goes on to the same result (on a GPU, up to rounding).

    ```
    astseg train my-pictures/ --objects 5 --minutes 60 --out my-run
    astseg train my-pictures/ --set foreground.entropy_weight=1e-3 --set architecture.shadows=true --out my-run
    astseg segment my-run more-pictures/ --out masks
    ```
    """
    from astseg.data.store import Store
    from astseg.training.auto_config import RecipeRequest, check_size, choose_recipe
    from astseg.training.run import RunSettings, read_recipe

    where = find_device(device)
    if resume:
        go_on(out, context, device)
        return
    if source is None:
        raise AstSegError("What should be learned from? Give a folder of images, a video or prepared data.")
    request = RecipeRequest(
        preset=preset,
        recipe=read_recipe(recipe) if recipe else None,
        num_slots=objects,
        minutes=minutes,
        steps=steps,
        static=static,
        changes=parse_changes(changes or []),
    )
    _refuse_taken(out)
    longer_side = max(request.base.architecture.image_size) if request.base else None
    check = partial(check_size, device=where, request=request)
    data = prepare(source, out / "data", parse_size(size), longer_side, check_size=check, masks=masks, ignore=ignore)
    with messages.status("Choosing what suits the images and the machine..."):
        choice = choose_recipe(Store(data), where, request)
    say_reasons(choice)
    settings = RunSettings(f"astseg on {source.resolve().name}", choice.recipe, str(data.resolve()), seed, preset)
    run_to_the_end(out, settings, device=device)


def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for everything the demo makes.")] = Path("demo"),
    seed: Seed = 0,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the demo in --out.")] = False,
) -> None:
    """Generate rooms, learn to find their objects without a label, and show how well it went.

    Within seconds, first-look.png shows what the model that comes with astseg finds in a few rooms. Then a small one
    is trained from nothing, to show that it is no trick: renders images of rooms, trains all three phases, scores the
    model on 500 rooms it has never seen, and writes scores.json and page.html.
    Takes seven to eleven minutes on two CPU cores.

    ```
    astseg demo --out demo
    ```
    """
    from astseg.data.store import Store
    from astseg.evaluation.scores_file import SCORES_FILE
    from astseg.training.presets import PRESETS
    from astseg.training.run import PAGE_FILE, RunSettings, is_run

    find_device(device)
    data = out / "data"
    if resume and is_run(out):
        go_on(out, context, device)
    else:
        seconds = {}
        if not resume:
            if Store.is_store(data) and not is_run(out):
                raise AstSegError(
                    f"{out} holds a demo that was begun. Go on with it by --resume, or choose another --out."
                )
            _refuse_taken(out, allowed=FIRST_LOOK_FILE)
            started = time.monotonic()
            _first_look(out / FIRST_LOOK_FILE)
            make_scenes("rooms", data, {"train": DEMO_TRAIN, "test": DEMO_TEST}, seed)
            seconds["generating"] = time.monotonic() - started
        elif not Store.is_store(data):
            raise AstSegError(f"{out} holds no demo to go on with. Leave --resume out to begin one.")
        else:
            say_what_is_ignored(context, ("out", "device", "resume"))
            seed = Store(data).manifest.details["seed"]
        settings = RunSettings("astseg demo: rooms", PRESETS["demo"].recipe, str(data.resolve()), seed, "demo")
        run_to_the_end(out, settings, device=device, seconds=seconds)
    output.print(f"Scores: {out / SCORES_FILE}\nPage:   {out / PAGE_FILE}", markup=False)


def _first_look(image: Path) -> None:
    """Draw what the model that comes with astseg finds in a few rooms that it has never seen."""
    from tempfile import TemporaryDirectory

    import numpy as np

    from astseg._core.atomic_io import atomic_write
    from astseg.data.store import Store
    from astseg.hub.loading import SHIPPED, load_model
    from astseg.visualization.gallery import draw_samples, sample

    with TemporaryDirectory() as folder:
        rooms = Path(folder) / "rooms"
        make_scenes("rooms", rooms, {"test": FIRST_LOOK_IMAGES}, FIRST_LOOK_SEED)
        split = Store(rooms)["test"]
        assert split.masks is not None
        samples = sample(load_model(SHIPPED / "rooms"), np.array(split.images), np.array(split.masks))
    with atomic_write(image) as partial:
        draw_samples(samples).save(partial)
    output.print(f"What the model that comes with astseg finds in a few rooms: {image}", markup=False)
    messages.print("Now another one learns it from nothing.", style="dim")


def presets(
    name: Annotated[str | None, typer.Argument(help="Print this one's whole recipe, as JSON.")] = None,
) -> None:
    """List the named recipes: every row of the paper's tables, and small ones for two CPU cores.

    With a name, print the recipe as a file that can be changed and trained by.

    ```
    astseg presets clevr > mine.json
    astseg train images/ --recipe mine.json
    ```
    """
    import json

    from rich.table import Table

    from astseg._core.settings_io import to_builtins
    from astseg.training.presets import PRESETS, get_preset

    if name is not None:
        output.print(json.dumps(to_builtins(get_preset(name).recipe), indent=2), markup=False)
        return
    table = Table("name", "what it is", "size", "K", box=None, pad_edge=False)
    for preset in PRESETS.values():
        shape = preset.recipe.architecture
        table.add_row(preset.name, preset.description, "{}x{}".format(*shape.image_size), str(shape.num_slots))
    print_table(table)


def go_on(folder: Path, context: typer.Context, device: str) -> None:
    """Go on with a run as it was begun, and say which options of the command therefore mean nothing.

    Raises:
        AstSegError: the folder holds no run, or its data is gone.
        Stopped: the user stopped it.
    """
    from astseg.training.run import read_run_with_data

    settings = read_run_with_data(folder)
    say_what_is_ignored(context, ("out", "device", "resume"))
    run_to_the_end(folder, settings, device=device, resume=True)


def say_reasons(choice: "RecipeChoice") -> None:
    """Say why a recipe is as it is, and by which option it would be otherwise."""
    for reason in choice.reasons:
        otherwise = f" {OPTIONS[reason.request]} says otherwise." if reason.request else ""
        messages.print(f"{reason.text}{otherwise}", style="dim", markup=False)


def say_what_is_ignored(context: typer.Context, heeded: tuple[str, ...]) -> None:
    """Say which options of a command mean nothing to a run that goes on, but for those that are heeded."""
    ignored = [name for name in context.params if _given(context, name) and name not in heeded]
    if ignored:
        names = ", ".join("the source" if name == "source" else f"--{name}" for name in ignored)
        messages.print(f"Going on with the run as it was begun; {names} cannot change it.", style="dim", markup=False)


def _given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _refuse_taken(folder: Path, allowed: str = "data") -> None:
    """Refuse a folder that holds a run, or anything else that a beginning run would be mixed up with."""
    from astseg._core.atomic_io import LOCK, unfinished
    from astseg.training.run import is_run

    if is_run(folder):
        raise AstSegError(f"{folder} holds a training run already. Go on with it by --resume, or choose another --out.")
    # What a killed process leaves does not matter.
    names = {allowed, unfinished(folder / "data").name, LOCK}
    if folder.exists() and not (folder.is_dir() and all(path.name in names for path in folder.iterdir())):
        raise AstSegError(f"{folder} exists and holds other things. Choose another --out for the run.")


def run_to_the_end(
    folder: Path,
    settings: "RunSettings",
    *,
    device: str,
    resume: bool = False,
    seconds: dict[str, float] | None = None,
    to_go_on: str = "The same command with --resume goes on.",
) -> None:
    """Train under progress bars, then score the model and write the page.

    A user who stops it is told how ``to_go_on``.

    Raises:
        Stopped: the user stopped it.
    """
    from astseg.cli.watching import TrainingBars
    from astseg.training.run import PAGE_FILE, finish_run, lock_run, phase_seconds, read_run, train_run, trained_model

    where = find_device(device)
    with lock_run(folder):
        with patient_interrupt() as stop, TrainingBars() as bars:
            finished = train_run(folder, settings, where, resume=resume, callbacks=[bars], stop=stop)
        if not finished:
            raise Stopped(f"Everything learned is saved. {to_go_on}")
        settings = replace(settings, recipe=read_run(folder).recipe)  # with the background that the images needed
        times = {**(seconds or {}), **phase_seconds(folder)}
        with progress("Scoring", "images") as show:
            summary = finish_run(folder, trained_model(folder).to(where), settings, times, where, show)
    if summary is not None:
        from astseg.cli.scores import print_scores

        print_scores(summary)
    output.print(f"Model:  {folder / 'model'}\nPage:   {folder / PAGE_FILE}", markup=False)


def train_background(folder: Path, data: Path, minutes: float, seed: int, device: str, resume: bool) -> "AstSeg":
    """Train the background network alone under a progress bar, or go on with it.

    Raises:
        Stopped: the user stopped it.
    """
    from astseg.cli.watching import TrainingBars
    from astseg.data.store import Store
    from astseg.training.auto_config import choose_background
    from astseg.training.run import RunSettings, lock_run, read_run_with_data, train_run, trained_model

    where = find_device(device)
    if resume:
        settings = read_run_with_data(folder)
        if settings.data != str(data.resolve()):
            raise AstSegError(f"{folder} holds the training on {settings.data}. Choose another --out, or remove it.")
    else:
        with messages.status("Choosing the number of steps..."):
            choice = choose_background(Store(data), where, minutes)
        say_reasons(choice)
        settings = RunSettings("astseg background", choice.recipe, str(data.resolve()), seed)
    with lock_run(folder), patient_interrupt() as stop, TrainingBars() as bars:
        finished = train_run(folder, settings, where, resume=resume, callbacks=[bars], stop=stop)
    if not finished:
        raise Stopped("Everything learned is saved. The same command goes on.")
    return trained_model(folder)
