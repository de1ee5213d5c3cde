"""``astseg demo``: generate rooms, train a model on them, and write a page, within minutes."""

import time
from pathlib import Path
from typing import Annotated

import typer

from astseg._core.errors import AstSegError
from astseg.cli._console import messages, output
from astseg.cli._inputs import make_scenes
from astseg.cli._options import Device, Seed, Strict, find_device
from astseg.cli._runs import USED_ON_RESUME, check_out_folder, print_ignored_options, resume_run, train_and_score

NUM_TRAIN_IMAGES, NUM_TEST_IMAGES = 8_000, 500
FIRST_LOOK_FILE = "first-look.png"
NUM_FIRST_LOOK_IMAGES = 12
FIRST_LOOK_SEED = 2023  # not a seed of rooms that a model was trained on


def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for all files of the demo.")] = Path("demo"),
    seed: Seed = 0,
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Resume the demo in --out.")] = False,
    strict: Strict = False,
) -> None:
    """Generate rooms, learn to find their objects without labels, and show the result.

    Within seconds, first-look.png shows what the model that comes with astseg finds in a few rooms. The demo then
    trains a small model from scratch: it renders images of rooms, trains all three phases, scores the model on 500
    unseen rooms, and writes scores.json and page.html. This takes up to seven minutes on two CPU cores.

    ```
    astseg demo --out demo
    ```
    """
    from astseg.data.store import Store
    from astseg.evaluation.scores_file import SCORES_FILE
    from astseg.training.presets import PRESETS
    from astseg.training.run_folder import PAGE_FILE, RunSettings, is_run

    find_device(device)
    data = out / "data"
    if resume and is_run(out):
        resume_run(out, context, device, strict=strict)
    else:
        seconds = {}
        if not resume:
            if Store.is_store(data) and not is_run(out):
                raise AstSegError(f"{out} holds an unfinished demo. Use --resume to continue it, or another --out.")
            check_out_folder(out, allowed=FIRST_LOOK_FILE)
            started = time.monotonic()
            _first_look(out / FIRST_LOOK_FILE)
            make_scenes("rooms", data, {"train": NUM_TRAIN_IMAGES, "test": NUM_TEST_IMAGES}, seed)
            seconds["generating"] = time.monotonic() - started
        elif not Store.is_store(data):
            raise AstSegError(f"{out} holds no demo to resume. Omit --resume to start one.")
        else:
            print_ignored_options(context, USED_ON_RESUME)
            seed = Store(data).manifest.details.get("seed", seed)
        settings = RunSettings("astseg demo: rooms", PRESETS["demo"].recipe, str(data.resolve()), seed, "demo")
        train_and_score(out, settings, device=device, seconds=seconds, strict=strict)
    output.print(f"Scores: {out / SCORES_FILE}", f"Page:   {out / PAGE_FILE}", sep="\n", markup=False)


def _first_look(image: Path) -> None:
    """Draw what the model that comes with astseg finds in a few unseen rooms."""
    from tempfile import TemporaryDirectory

    import numpy as np

    from astseg._core.atomic_io import atomic_write
    from astseg.data.store import Store
    from astseg.hub.loading import load_model
    from astseg.hub.names import SHIPPED_MODELS
    from astseg.visualization.gallery import draw_samples, sample

    with TemporaryDirectory() as folder:
        rooms = Path(folder) / "rooms"
        make_scenes("rooms", rooms, {"test": NUM_FIRST_LOOK_IMAGES}, FIRST_LOOK_SEED)
        split = Store(rooms)["test"]
        assert split.masks is not None
        samples = sample(load_model(SHIPPED_MODELS / "rooms"), np.array(split.images), np.array(split.masks))
    with atomic_write(image) as partial:
        draw_samples(samples).save(partial)
    output.print(f"What the model that comes with astseg finds in a few rooms: {image}", markup=False)
    messages.print("Now a new model learns this from scratch.", style="dim")
