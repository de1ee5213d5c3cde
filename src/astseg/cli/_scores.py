"""Print scores, and write them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from astseg._core.text import first_names
from astseg.cli._console import format_count, output, print_note, print_table

if TYPE_CHECKING:
    import torch

    from astseg.evaluation.evaluator import Evaluation, Means, ScoreSummary
    from astseg.evaluation.region_scores import RegionScores
    from astseg.evaluation.scores_file import DataDescription

NAME_WIDTH = 12
"""Of the names before lines of scores."""
IMAGES = "images"
"""What scores.json calls the split of images that were not prepared."""


def write_evaluation(
    folder: Path,
    evaluation: "Evaluation",
    model: str,
    data: "DataDescription",
    split: str,
    device: "torch.device",
    *,
    label_rule: bool,
) -> None:
    """Write scores.json, and per_image.csv with the scores of every image."""
    from astseg._core.provenance import provenance
    from astseg.evaluation.evaluator import PER_IMAGE_FILE, write_per_image
    from astseg.evaluation.scores_file import SCORES_FILE, ScoreRecord, write_scores

    write_per_image(folder / PER_IMAGE_FILE, evaluation)
    record = ScoreRecord(
        evaluation.summary(), model, data, split, provenance(device), label_rule, regions=evaluation.regions
    )
    write_scores(folder / SCORES_FILE, record)


def print_evaluation(evaluation: "Evaluation", out: Path, left_out: Sequence[str] = ()) -> None:
    """Print the benchmark's scores, those of the regions if there are any, and where the files are.

    Args:
        evaluation: the scores.
        out: the folder of the files.
        left_out: the names of the images of which nothing true is known.
    """
    from astseg.evaluation.evaluator import PER_IMAGE_FILE
    from astseg.evaluation.scores_file import SCORES_FILE

    print_scores(evaluation.summary())
    if evaluation.regions is not None:
        print_regions(evaluation.regions)
    if left_out:
        names = f"{format_count(len(left_out), 'image')} ({first_names(left_out)})"
        print_note("Note", f"{names} not scored: nothing true is known of them.", output)
    output.print(f"Files: {out / SCORES_FILE}, {out / PER_IMAGE_FILE}", markup=False)


def print_regions(scores: "RegionScores") -> None:
    """Print the scores beside the benchmark's: those of the foreground and of the regions."""
    foreground, precision, panoptic = scores.foreground, scores.precision, scores.panoptic
    _print_line("foreground", F=foreground.f_measure, precision=foreground.precision, recall=foreground.recall)
    if foreground.shadow_claimed is not None:
        _print_line("shadow", **{"in masks": foreground.shadow_claimed})
    _print_line(
        "regions", **{"AP": precision.ap, "AP 0.5": precision.ap50, "AR": precision.ar, "AR 0.5": precision.ar50}
    )
    if panoptic is not None:
        _print_line("panoptic", PQ=panoptic.pq, SQ=panoptic.sq, RQ=panoptic.rq)
    share = f" ({scores.matched_regions / scores.true_regions:.1%})" if scores.true_regions else ""
    counts = f"{scores.matched_regions} of {scores.true_regions} true regions{share}, {scores.found_regions} found"
    output.print(f"{'matched':{NAME_WIDTH}}{counts}", markup=False)
    output.print(scores.protocol, style="dim", markup=False)


def print_scores(summary: "ScoreSummary") -> None:
    """Print the mean scores of all images and by the number of objects, and how they were computed."""
    table = Table("", "images", "mIoU", "ARI-FG", "ARI", "MSC-FG", "MSC", "MSE", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    _add_row(table, "all", summary.overall)
    if summary.two_or_more_objects is not None:
        _add_row(table, "2 or more objects", summary.two_or_more_objects)
    for count, means in summary.by_objects.items():
        _add_row(table, format_count(count, "object"), means)
    _add_row(table, "background everywhere", summary.background_everywhere)
    print_table(table)
    if summary.images_with_more_objects_than_slots:
        images = format_count(summary.images_with_more_objects_than_slots, "image")
        print_note("Note", f"{images} with more objects than the model can find (K = {summary.num_slots}).", output)
    if summary.images_without_foreground:
        images = format_count(summary.images_without_foreground, "image")
        print_note("Note", f"{images} without any object; ARI-FG counts 1 there.", output)
    output.print(summary.protocol, style="dim", markup=False)


def _add_row(table: Table, title: str, means: "Means") -> None:
    scores = (means.miou, means.ari_fg, means.ari, means.msc_fg, means.msc)
    error = "-" if means.mse is None else f"{means.mse:.1f}"
    table.add_row(title, str(means.images), *(f"{100 * score:.2f}" for score in scores), error)


def _print_line(name: str, **scores: float | None) -> None:
    values = (f"{title} {'-' if score is None else f'{100 * score:.2f}'}" for title, score in scores.items())
    output.print(f"{name:{NAME_WIDTH}}{'   '.join(values)}", markup=False)
