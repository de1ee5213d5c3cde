"""``astseg ablate``: train rows of the paper's tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astseg._core.errors import AstSegError, NonFiniteWeightsError, OtherRunError
from astseg._core.text import format_value
from astseg.cli._console import messages, output, print_note
from astseg.cli._options import Device, find_device, parse_names
from astseg.cli._runs import SAME_COMMAND, train_and_score
from astseg.cli.evaluate import score_model
from astseg.data.catalog import TRAINING_SETS, DatasetSpec, find_dataset

if TYPE_CHECKING:
    from astseg.evaluation.scores_file import DataDescription
    from astseg.paper.ablation import PlannedRun


def ablate(
    dataset: Annotated[str, typer.Argument(help=f"The data set: {', '.join(TRAINING_SETS)}.")],
    data: Annotated[Path, typer.Option(help="Prepared data with a test split and its masks.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the runs.")],
    rows: Annotated[
        str | None, typer.Option(help="Rows, separated by commas, such as full,unet. By default all.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="The number of runs of each row.", min=1)] = 3,
    miniature: Annotated[
        bool, typer.Option("--miniature", help="Use small networks and few steps, to try the rows out.")
    ] = False,
    steps: Annotated[int | None, typer.Option(help="Foreground steps of a miniature. [default: 300]")] = None,
    ood: Annotated[Path | None, typer.Option(help="OOD data to evaluate CLEVRTEX models on (Table 3).")] = None,
    camo: Annotated[Path | None, typer.Option(help="CAMO data to evaluate CLEVRTEX models on (Table 3).")] = None,
    device: Device = "auto",
) -> None:
    """Train rows of the paper's tables, with several seeds, one run after the other.

    Each run is an ordinary folder, DIR/PRESET-seed-N. If the command is stopped and run again, it skips finished runs
    and resumes the others.

    ```
    astseg ablate objectsroom --rows full,unet --data rooms/ --out table/ --miniature
    astseg report table/
    ```
    """
    from astseg.data.store import Store
    from astseg.paper.ablation import State, choose_rows, evaluation_folder, plan_runs

    dataset = find_dataset(dataset).name
    elsewhere = _find_unseen(dataset, {"ood": ood, "camo": camo})
    presets = choose_rows(dataset, _parse_rows(rows))
    find_device(device)
    store = Store(data)
    described = {spec: _describe_scored(path) for spec, path in elsewhere.items()}
    runs = plan_runs(presets, seeds, store, out, small=miniature, steps=steps)
    states = [run.state() for run in runs]
    if not miniature:
        _note_other_size(store.image_size, presets[0].recipe.architecture.image_size)
    _note_coinciding_rows(runs)
    failed: list[str] = []
    for number, (run, state) in enumerate(zip(runs, states, strict=True), start=1):
        messages.print(f"[bold]{number} of {len(runs)}:[/] {run.folder.name} ({state.value})")
        if state is not State.FINISHED and not _train(run, device, resume=state is State.INTERRUPTED):
            failed.append(run.folder.name)
            continue
        for spec, path in elsewhere.items():
            _score_unless_scored(run.folder, path, described[spec], evaluation_folder(run.folder, spec), device)
    if failed:
        raise AstSegError(f"The weights of {', '.join(failed)} became non-finite. All other runs are finished.")
    output.print(f"Runs: {out}. To compare them with the published results: astseg report {out}", markup=False)


def _find_unseen(dataset: str, given: Mapping[str, Path | None]) -> dict[DatasetSpec, Path]:
    """Return the data sets to evaluate on only that are given, with their data.

    Raises:
        AstSegError: models of the data set are not evaluated on one of them.
    """
    unseen = {find_dataset(name): path for name, path in given.items() if path is not None}
    for spec in unseen:
        if spec.trained_on != dataset:
            raise AstSegError(
                f"Only models of {spec.trained_on} are evaluated on {spec.title}, not those of {dataset}."
            )
    return unseen


def _parse_rows(text: str | None) -> list[str]:
    """Return the names of rows in a text; none if all are asked for.

    Raises:
        AstSegError: the text names none.
    """
    names = list(parse_names(text or ""))
    if text is not None and not names:
        raise AstSegError("--rows names no row. Name some, or omit it for all.")
    return names


def _describe_scored(path: Path) -> "DataDescription":
    """Return what scores of prepared data say of it.

    Raises:
        AstSegError: the data has nothing to score.
    """
    from astseg.data.store import Store
    from astseg.evaluation.scores_file import describe_data
    from astseg.training.run import check_scored

    store = Store(path)
    check_scored(store)
    return describe_data(store)


def _train(run: "PlannedRun", device: str, *, resume: bool) -> bool:
    """Train a run to its end and score it; return whether its weights stayed finite, so that other rows go on.

    Raises:
        Stopped: the user stopped it.
    """
    try:
        train_and_score(run.folder, run.settings, device=device, resume=resume, how_to_resume=SAME_COMMAND)
    except NonFiniteWeightsError as error:
        print_note("Failed", str(error))
        return False
    return True


def _note_other_size(ours: tuple[int, int], theirs: tuple[int, int]) -> None:
    """Print that images are not of the size of the paper's, if they are not."""
    if ours != theirs:
        sizes = f"The images are {format_value(ours)}, but the paper's are {format_value(theirs)}"
        print_note("Note", f"{sizes}: this does not reproduce its results.")


def _note_coinciding_rows(runs: Sequence["PlannedRun"]) -> None:
    """Print which rows are the same, if any are."""
    from astseg.paper.ablation import coinciding_rows

    for alike in coinciding_rows(runs):
        print_note("Note", f"At this size, these rows are the same recipe: {', '.join(alike)}.")


def _score_unless_scored(run: Path, data: Path, described: "DataDescription", out: Path, device: str) -> None:
    """Score a run's model on data that it was not trained on, unless its scores are there.

    Args:
        run: its folder.
        data: the prepared data.
        described: what scores of these data say of them.
        out: the folder for the scores.
        device: where to compute.

    Raises:
        OtherRunError: the scores that are there are of other data.
    """
    from astseg.evaluation.scores_file import SCORES_FILE, read_scores

    file = out / SCORES_FILE
    if not file.is_file():
        score_model(str(run), data, out, device)
    elif read_scores(file).data != described:
        raise OtherRunError(f"{file} is of other data than {data}. Remove {out}, or choose another --out.")
