"""Commands that torchrun starts in several processes: the first one speaks for all."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from astseg._core.errors import LostProcessError, NonFiniteWeightsError
from astseg.cli._console import Stopped, messages, output

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
    """
    from astseg._core import processes

    place, device = processes.launched_place(), launched_device(device)
    quiet = messages.quiet, output.quiet
    messages.quiet = output.quiet = place.rank > 0
    try:
        with processes.joined(device):
            yield device
    except SHARED_ERRORS:
        raise
    except BaseException:
        messages.quiet, output.quiet = quiet
        raise
    else:
        messages.quiet, output.quiet = quiet
