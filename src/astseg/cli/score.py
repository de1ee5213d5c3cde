"""``astseg score``: score results that are there already, of any program."""

from pathlib import Path
from typing import Annotated

import typer

from astseg.cli._console import format_count, output, print_note
from astseg.cli._options import Ignore, MinArea, ScoresOut, parse_values
from astseg.cli._progress import progress
from astseg.cli._scores import IMAGES, print_evaluation, write_evaluation


def score(
    results: Annotated[
        Path,
        typer.Argument(
            help="A folder that astseg segment wrote, a folder of label images (or of black and white masks) of any "
            "program, or its COCO file (.json)."
        ),
    ],
    truth: Annotated[
        Path,
        typer.Argument(
            help="What is true: a folder of masks, an array of masks (.npy, .npz), prepared data, a COCO file (.json), "
            "or a folder of a CDnet sequence."
        ),
    ],
    ignore: Ignore = None,
    out: ScoresOut = Path("evaluation"),
    min_area: MinArea = 0,
) -> None:
    """Score results that are there already, of astseg or of another program.

    Results and truth belong together by the names of the images. The scores and files are those of 'astseg evaluate'.

    ```
    astseg score masks/ true-masks/
    astseg score masks/ instances.json
    astseg score film-masks/ highway/                  # a video's results, a sequence of CDnet
    astseg score detections.json instances.json        # COCO's results of any program
    ```
    """
    import torch

    from astseg._core.atomic_io import atomic_folder
    from astseg.evaluation.scores_file import describe_images
    from astseg.inference.scoring import score_results

    with atomic_folder(out) as folder:
        with progress("Scoring", "images") as show:
            scored = score_results(results, truth, parse_values(ignore), show, min_area=min_area)
        evaluation = scored.evaluation
        described = describe_images(str(truth.resolve()), IMAGES, len(evaluation.index))
        write_evaluation(folder, evaluation, str(results), described, IMAGES, torch.device("cpu"), label_rule=True)
    print_evaluation(evaluation, out, scored.left_out)
    if scored.without_result:
        print_note(
            "Note", f"{format_count(scored.without_result, 'true image')} not scored: there is no result.", output
        )
