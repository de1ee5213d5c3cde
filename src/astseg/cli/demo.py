"""``astseg demo``: the whole way from generated rooms to a model and a page, in minutes."""

import time
from pathlib import Path
from typing import Annotated

import typer

from astseg._core.errors import AstSegError
from astseg.cli._console import messages, output
from astseg.cli._inputs import make_scenes
from astseg.cli._options import Device, Seed, find_device
from astseg.cli._runs import go_on, refuse_taken, run_to_the_end, say_what_is_ignored

DEMO_TRAIN, DEMO_TEST = 8_000, 500
FIRST_LOOK_FILE = "first-look.png"
FIRST_LOOK_IMAGES = 12
FIRST_LOOK_SEED = 2023  # of rooms that neither the model that comes with astseg nor the demo's has learned from


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
            refuse_taken(out, allowed=FIRST_LOOK_FILE)
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
    from astseg.hub.loading import SHIPPED_MODELS, load_model
    from astseg.visualization.gallery import draw_samples, sample

    with TemporaryDirectory() as folder:
        rooms = Path(folder) / "rooms"
        make_scenes("rooms", rooms, {"test": FIRST_LOOK_IMAGES}, FIRST_LOOK_SEED)
        split = Store(rooms)["test"]
        assert split.masks is not None
        samples = sample(load_model(SHIPPED_MODELS / "rooms"), np.array(split.images), np.array(split.masks))
    with atomic_write(image) as partial:
        draw_samples(samples).save(partial)
    output.print(f"What the model that comes with astseg finds in a few rooms: {image}", markup=False)
    messages.print("Now another one learns it from nothing.", style="dim")
