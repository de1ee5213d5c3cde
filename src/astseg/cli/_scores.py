"""Print scores."""

from typing import TYPE_CHECKING

from rich.table import Table

from astseg.cli._console import format_count, output, print_note, print_table

if TYPE_CHECKING:
    from astseg.evaluation.evaluator import Means, ScoreSummary


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
