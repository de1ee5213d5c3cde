"""Commands that torchrun starts in several processes: the first one speaks for all."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from astseg._core.errors import LostProcessError, NonFiniteWeightsError
from astseg.cli._console import EXIT_MISTAKE, Stopped, exit_code_when_stopped, messages, output

if TYPE_CHECKING:
    import torch

SHARED_ERRORS = (LostProcessError, NonFiniteWeightsError, Stopped)
"""What ends all processes alike, so that the first one alone reports it."""


def launched_device(device: "torch.device") -> "torch.device":
    """Return the device of this process, which may be one of several."""
    from astseg._core.processes import launched_place, own_device

    return own_device(device, launched_place())


@contextmanager
def joined_processes(device: "torch.device") -> Iterator["torch.device"]:
    """Join the processes that were started together, if any; yield the device of this one.

    All but the first print nothing but errors of their own.

    Raises:
        SystemExit: in place of `SHARED_ERRORS`, in all processes but the first, or the second if one was lost.
    """
    from astseg._core import processes

    place, device = processes.launched_place(), launched_device(device)
    quiet = messages.quiet, output.quiet
    if place.rank > 0:
        messages.quiet = output.quiet = True
    try:
        with processes.joined(device):
            yield device
    except SHARED_ERRORS as error:
        # The lost process may be the first, so that the second one speaks as well.
        if place.rank == 0 or (place.rank == 1 and isinstance(error, LostProcessError)):
            raise
        if isinstance(error, Stopped):
            # The first one saves and speaks, and torchrun would stop it as soon as another ends.
            with suppress(LostProcessError):
                processes.wait_for_all()
        raise SystemExit(exit_code_when_stopped() if isinstance(error, Stopped) else EXIT_MISTAKE) from error
    finally:
        messages.quiet, output.quiet = quiet
