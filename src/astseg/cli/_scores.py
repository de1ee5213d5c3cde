"""Scores as the terminal shows them."""

from typing import TYPE_CHECKING

from rich.table import Table

from astseg.cli._console import counted, note, output, print_table

if TYPE_CHECKING:
    from astseg.evaluation.evaluator import Means, ScoreSummary


def print_scores(summary: "ScoreSummary") -> None:
    """Print the means, for all images and by the number of their objects, and the protocol below."""
    table = Table("", "images", "mIoU", "ARI-FG", "ARI", "MSC-FG", "MSC", "MSE", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    _add(table, "all", summary.overall)
    if summary.two_or_more_objects is not None:
        _add(table, "2 or more objects", summary.two_or_more_objects)
    for count, means in summary.by_objects.items():
        _add(table, f"{count} object{'' if count == 1 else 's'}", means)
    _add(table, "background everywhere", summary.background_everywhere)
    print_table(table)
    if summary.images_with_more_objects_than_slots:
        images = counted(summary.images_with_more_objects_than_slots, "image")
        note("Note", f"{images} with more objects than the model can find (K = {summary.num_slots}).", output)
    if summary.images_without_foreground:
        images = counted(summary.images_without_foreground, "image")
        note("Note", f"{images} without any object; ARI-FG counts 1 there.", output)
    output.print(summary.protocol, style="dim", markup=False)


def _add(table: Table, title: str, means: "Means") -> None:
    scores = (means.miou, means.ari_fg, means.ari, means.msc_fg, means.msc)
    error = "-" if means.mse is None else f"{means.mse:.1f}"
    table.add_row(title, str(means.images), *(f"{100 * score:.2f}" for score in scores), error)
