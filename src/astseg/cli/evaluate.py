"""``astseg evaluate``: score a model on data with masks."""

from pathlib import Path
from typing import Annotated

import typer

from astseg.cli._console import output
from astseg.cli._models import open_model
from astseg.cli._options import Device, Model, find_device
from astseg.cli._progress import progress
from astseg.cli._scores import print_scores


def evaluate(
    model: Model,
    data: Annotated[Path, typer.Argument(help="Prepared data with masks.")],
    split: Annotated[str, typer.Option(help="The split to score.")] = "test",
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the files.")] = Path("evaluation"),
    batch_size: Annotated[int, typer.Option(help="The number of images at a time.", min=1)] = 64,
    by_weights_alone: Annotated[
        bool,
        typer.Option("--by-weights-alone", help="Label pixels by the paper's rule, not by the model's own."),
    ] = False,
    device: Device = "auto",
) -> None:
    """Score a model on data with masks: mIoU, ARI-FG, ARI, MSC-FG, MSC, MSE.

    Every image of the split counts once. Writes scores.json and the scores of every image in per_image.csv.

    ```
    astseg evaluate my-run my-data --split test --out scores
    ```
    """
    score_model(model, data, out, device, split, batch_size, use_label_rule=not by_weights_alone)


def score_model(
    model: str,
    data: Path,
    out: Path,
    device: str,
    split: str = "test",
    batch_size: int = 64,
    *,
    use_label_rule: bool = True,
) -> None:
    """Score a model under a progress bar, write the files, and print the scores."""
    from astseg._core.atomic_io import atomic_folder
    from astseg._core.provenance import provenance
    from astseg.data.store import Store
    from astseg.evaluation.evaluator import PER_IMAGE_FILE, write_per_image
    from astseg.evaluation.evaluator import evaluate as evaluate_split
    from astseg.evaluation.scores_file import SCORES_FILE, ScoreRecord, describe_data, write_scores

    where = find_device(device)
    store = Store(data)
    chosen = store[split]
    with atomic_folder(out) as folder:
        segmenter = open_model(model, where)
        with progress("Scoring", "images") as show:
            evaluation = evaluate_split(segmenter, chosen, batch_size, show, use_label_rule=use_label_rule)
        write_per_image(folder / PER_IMAGE_FILE, evaluation)
        summary = evaluation.summary()
        record = ScoreRecord(summary, model, describe_data(store), split, provenance(where), use_label_rule)
        write_scores(folder / SCORES_FILE, record)
    print_scores(summary)
    output.print(f"Files: {out / SCORES_FILE}, {out / PER_IMAGE_FILE}", markup=False)
