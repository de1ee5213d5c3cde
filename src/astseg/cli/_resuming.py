"""Commands that go on where they were stopped."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astseg import __version__
from astseg._core.input_files import real_path
from astseg._core.text import without_password
from astseg.cli._console import Stopped, format_count, print_note
from astseg.cli._inputs import Reading

if TYPE_CHECKING:
    import torch

    from astseg.inference.resuming import KeptAnswers
    from astseg.model.ast_seg import AstSeg


def make_plan(
    source: str | list[str], reading: Reading, particulars: Mapping[str, Any], device: "torch.device", model: "AstSeg"
) -> dict[str, Any]:
    """Return what must be the same when a command goes on, by the words in which users are told that it is not.

    Args:
        source: see `resolved`.
        reading: how the source is read; masks do not count.
        particulars: what else must be the same for this command.
        device: where the model is.
        model: what finds the results.
    """
    from astseg.inference.plans import model_digest

    return {
        "source": source,
        "step between frames": reading.every,
        "most frames of a video": reading.max_frames,
        **particulars,
        "device": str(device),
        "model": model_digest(model),
        "version of astseg": __version__,
    }


def resolved(word: str) -> str:
    """Return a source as it is compared: a path, however it is written, as an absolute one."""
    return str(real_path(Path(word))) if os.path.lexists(word) else without_password(word)


@contextmanager
def going_on(out: Path, plan: Mapping[str, Any]) -> Iterator["KeptAnswers"]:
    """Keep what a model finds until the results of a block are whole, and say what was there already.

    Args:
        out: the folder of the results.
        plan: see `resumable`.

    Raises:
        Stopped: in place of Ctrl-C.
        AstSegError: see `resumable`.
    """
    from astseg.inference.resuming import resumable

    with resumable(out, plan) as kept:
        try:
            yield kept
        except KeyboardInterrupt:
            if not kept.kept:
                raise Stopped("Stopped before any image was done: nothing is kept.") from None
            count = format_count(kept.kept, "image")
            raise Stopped(f"Stopped after {count}. The same command goes on from there.") from None
    if kept.found:
        print_note("Note", f"{format_count(kept.found, 'image')} had been done when the command was stopped.")
