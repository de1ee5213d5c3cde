"""``astseg ablate``: the rows of the paper's tables, trained one after the other."""

from pathlib import Path
from typing import Annotated

import typer

from astseg._core.errors import AstSegError, NonFiniteWeightsError
from astseg.cli._console import messages, note, output
from astseg.cli._options import Device, find_device
from astseg.cli._runs import run_to_the_end
from astseg.cli.evaluate import score_model
from astseg.data.catalog import TRAINING_SETS, find_dataset


def ablate(
    dataset: Annotated[str, typer.Argument(help=f"Whose rows: {', '.join(TRAINING_SETS)}.")],
    data: Annotated[Path, typer.Option(help="Prepared data with a test split and its masks.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the runs.")],
    rows: Annotated[
        str | None, typer.Option(help="Rows, with commas between them, such as full,unet. By default all of them.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many runs of each row.", min=1)] = 3,
    miniature: Annotated[
        bool, typer.Option("--miniature", help="Small networks and few steps, to see that the rows work.")
    ] = False,
    steps: Annotated[int | None, typer.Option(help="Foreground steps of a miniature. [default: 300]")] = None,
    ood: Annotated[Path | None, typer.Option(help="OOD data to evaluate CLEVRTEX models on (Table 3).")] = None,
    camo: Annotated[Path | None, typer.Option(help="CAMO data to evaluate CLEVRTEX models on (Table 3).")] = None,
    device: Device = "auto",
) -> None:
    """Train rows of the paper's tables, with several seeds, one run after the other.

    Each run is an ordinary folder, DIR/PRESET-seed-N. Stopped and run again, the command skips what is finished and
    goes on with what is not.

    ```
    astseg ablate objectsroom --rows full,unet --data rooms/ --out table/ --miniature
    astseg report table/
    ```
    """
    from astseg.data.store import Store
    from astseg.evaluation.scores_file import SCORES_FILE
    from astseg.paper.ablation import State, choose_rows, coinciding_rows, evaluation_folder, plan_runs
    from astseg.training.run import check_scored

    elsewhere = {find_dataset(name): path for name, path in (("ood", ood), ("camo", camo)) if path is not None}
    dataset = find_dataset(dataset).name
    for spec in elsewhere:
        if spec.trained_on != dataset:
            raise AstSegError(
                f"Only models of {spec.trained_on} are evaluated on {spec.title}, not those of {dataset}."
            )
    names = [name.strip() for name in rows.split(",")] if rows else []
    presets = choose_rows(dataset, names)
    find_device(device)
    store = Store(data)
    for path in elsewhere.values():
        check_scored(Store(path))
    runs = plan_runs(presets, seeds, store, out, small=miniature, steps=steps)
    states = [run.state() for run in runs]
    if not miniature and store.image_size != presets[0].recipe.architecture.image_size:
        sizes = ("{}x{}".format(*size) for size in (store.image_size, presets[0].recipe.architecture.image_size))
        messages.print("[yellow]The images are of {}, those of the paper of {}: no reproduction.[/]".format(*sizes))
    for alike in coinciding_rows(runs):
        messages.print(f"[yellow]At this size these rows are one and the same recipe:[/] {', '.join(alike)}.")
    failed: list[str] = []
    for number, (run, state) in enumerate(zip(runs, states, strict=True), start=1):
        messages.print(f"[bold]{number} of {len(runs)}:[/] {run.folder.name} ({state.value})")
        if state is not State.FINISHED:
            resume = state is State.INTERRUPTED
            goes_on = "The same command goes on."
            try:
                run_to_the_end(run.folder, run.settings, device=device, resume=resume, to_go_on=goes_on)
            except NonFiniteWeightsError as error:  # the other rows are not to wait for it
                note("Failed", str(error))
                failed.append(run.folder.name)
                continue
        for spec, path in elsewhere.items():
            place = evaluation_folder(run.folder, spec)
            if not (place / SCORES_FILE).is_file():
                score_model(str(run.folder), path, place, device)
    if failed:
        raise AstSegError(f"The weights of {', '.join(failed)} became no numbers. All other runs are done.")
    output.print(f"Runs: {out}. To see them beside the published figures: astseg report {out}", markup=False)
