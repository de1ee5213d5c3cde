"""``astseg diagnose``: say whether a training went well, and show what went wrong."""

from pathlib import Path
from typing import Annotated

import typer

from astseg.cli._console import format_count, messages, output
from astseg.cli._options import Device, find_device
from astseg.cli._problems import print_problem


def diagnose(
    run: Annotated[Path, typer.Argument(help="The folder of a training run, finished or not.")],
    device: Device = "auto",
) -> None:
    """Say whether a training goes well: objects in the background, empty or shared slots, a rising loss, and the like.

    Prints each problem with what to try, and writes diagnosis.html into the run's folder, with images that show it. The
    same is said while training. Ends with code 1 if there are problems.

    ```
    astseg diagnose my-run
    ```
    """
    from astseg.cli._models import say_progress
    from astseg.training.diagnosis import diagnose_run, write_diagnosis_page

    where = find_device(device)
    say_progress(run)
    with messages.status("Looking at training images..."):
        diagnosis = diagnose_run(run, where)
        page = write_diagnosis_page(run, diagnosis)
    for judgment in diagnosis.judgments:
        if judgment.healthy:
            output.print(f"Good: {judgment.finding}", markup=False)
    for problem in diagnosis.problems:
        print_problem(problem, output)
    output.print(f"{format_count(len(diagnosis.problems), 'problem')}. Page: {page}", markup=False)
    if diagnosis.problems:
        raise typer.Exit(1)
