"""``astseg evaluate``: score a model on images with known truth."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from astseg._core.errors import AstSegError
from astseg.cli._inputs import report_left_out, report_notes, report_skipped
from astseg.cli._models import open_segmenter
from astseg.cli._options import Device, Ignore, MinArea, Model, Rule, ScoresOut, find_device, parse_values
from astseg.cli._progress import progress
from astseg.cli._scores import IMAGES, print_evaluation, write_evaluation

BATCH_SIZE = 64


def evaluate(
    model: Model,
    data: Annotated[
        Path,
        typer.Argument(
            help="Images with masks beside them, an array with masks, a video, or prepared data with masks."
        ),
    ],
    truth: Annotated[
        Path | None,
        typer.Option(
            help="What is true of the images: a folder of masks, an array of masks (.npy, .npz), a COCO file (.json), "
            "or a folder of a CDnet sequence. By default the masks beside them."
        ),
    ] = None,
    ignore: Ignore = None,
    split: Annotated[str | None, typer.Option(help="Of prepared data, the split to score. [default: test]")] = None,
    out: ScoresOut = Path("evaluation"),
    batch_size: Annotated[int, typer.Option(help="The number of images at a time.", min=1)] = BATCH_SIZE,
    min_area: MinArea = 0,
    by_weights_alone: Annotated[
        bool,
        typer.Option("--by-weights-alone", help="Label pixels by the paper's rule, not by the model's own."),
    ] = False,
    rule: Rule = None,
    device: Device = "auto",
) -> None:
    """Score a model on images whose truth is known.

    First the benchmark's scores (mIoU, ARI-FG, ARI, MSC-FG, MSC; of prepared data MSE), then those of the foreground
    (F-measure) and of the regions (PQ, AP, AR). Writes scores.json and the scores of every image in per_image.csv.
    Results that are there already are scored by 'astseg score'.

    ```
    astseg evaluate my-run pictures/                             # pictures/a.jpg, pictures/a_mask.png
    astseg evaluate my-run pictures/ --truth instances.json
    astseg evaluate my-run highway.avi --truth highway/          # a sequence of CDnet
    astseg evaluate my-run my-data --split test --out scores
    ```
    """
    from astseg.data.store import Store

    if rule and by_weights_alone:
        raise AstSegError("By the weights alone, --rule has no effect. Omit one of the two.")
    use_label_rule = not by_weights_alone
    if Store.is_store(data):
        if truth is not None or ignore is not None:
            raise AstSegError(f"{data} is prepared with its masks, so --truth and --ignore have no effect. Omit them.")
        part = split or "test"
        score_model(
            model, data, out, device, part, batch_size, use_label_rule=use_label_rule, min_area=min_area, rule=rule
        )
    else:
        if split is not None:
            raise AstSegError(f"--split is for prepared data, and {data} is none. Omit it.")
        _score_images(
            model,
            data,
            truth,
            parse_values(ignore),
            out,
            device,
            batch_size,
            use_label_rule=use_label_rule,
            min_area=min_area,
            rule=rule,
        )


def score_model(
    model: str,
    data: Path,
    out: Path,
    device: str,
    split: str = "test",
    batch_size: int = BATCH_SIZE,
    *,
    use_label_rule: bool = True,
    min_area: int = 0,
    rule: Sequence[str] | None = None,
) -> None:
    """Score a model on prepared data under a progress bar, write the files, and print the scores."""
    from astseg._core.atomic_io import atomic_folder
    from astseg.data.store import Store
    from astseg.evaluation.evaluator import evaluate as evaluate_split
    from astseg.evaluation.region_scores import RegionCounter
    from astseg.evaluation.scores_file import describe_data

    where = find_device(device)
    store = Store(data)
    chosen = store[split]
    with atomic_folder(out) as folder:
        segmenter = open_segmenter(model, where, rule)
        counter = RegionCounter(min_area)
        with progress("Scoring", "images") as show:
            evaluation = evaluate_split(
                segmenter, chosen, batch_size, show, use_label_rule=use_label_rule, regions=counter
            )
        write_evaluation(folder, evaluation, model, describe_data(store), split, where, label_rule=use_label_rule)
    print_evaluation(evaluation, out)


def _score_images(
    model: str,
    data: Path,
    truth: Path | None,
    ignored: frozenset[int] | None,
    out: Path,
    device: str,
    batch_size: int,
    *,
    use_label_rule: bool,
    min_area: int,
    rule: Sequence[str] | None,
) -> None:
    """Score a model on images as they are."""
    from astseg.data.folders import refuse_own_work
    from astseg.data.opening import open_source
    from astseg.data.truth import open_truth
    from astseg.data.truth.cdnet import find_cdnet

    refuse_own_work(data)
    place = find_cdnet(data) if truth is None else truth
    known = None if place is None else open_truth(place, None, ignored)
    source = open_source(data) if known is not None else open_source(data, masks=truth, ignored=ignored)
    from astseg._core.atomic_io import atomic_folder
    from astseg.evaluation.scores_file import describe_images
    from astseg.inference.scoring import score_source

    where = find_device(device)
    report_left_out(source.left_out)
    report_notes(source.notes)
    with atomic_folder(out) as folder:
        segmenter = open_segmenter(model, where, rule)
        with progress("Scoring", "images") as show:
            scored = score_source(
                segmenter, source, known, batch_size, show, min_area=min_area, use_label_rule=use_label_rule
            )
        evaluation = scored.evaluation
        described = describe_images(str(data.resolve()), IMAGES, len(evaluation.index))
        write_evaluation(folder, evaluation, model, described, IMAGES, where, label_rule=use_label_rule)
    report_skipped(scored.skipped)
    print_evaluation(evaluation, out, scored.left_out)
