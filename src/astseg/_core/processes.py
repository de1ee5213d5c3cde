"""Several processes that work together, as ``torchrun`` starts them: who this one is, and what they tell each other.

A process that has not joined others is the first of one, and every function here then does nothing.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from astseg._core.errors import AstSegError, LostProcessError

MAX_WAIT = timedelta(days=1)
"""How long a process waits for another, which may be preparing images. The end of a process is noticed at once."""
T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Which of several processes this one is, by what their launcher says."""

    rank: int = 0
    """Counted from 0."""
    count: int = 1
    local_rank: int = 0
    """Counted on this machine alone: the number of its GPU."""


def launched_place() -> Place:
    """Return what the launcher says by the environment variables RANK, WORLD_SIZE and LOCAL_RANK.

    Raises:
        AstSegError: they contradict each other.
    """
    texts = [os.environ.get(name, default) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"))]
    texts.append(os.environ.get("LOCAL_RANK", texts[0]))
    if not all(text.isdecimal() for text in texts) or not int(texts[0]) < int(texts[1]):
        raise AstSegError(
            "RANK, WORLD_SIZE and LOCAL_RANK should be set as torchrun sets them, "
            f"not to '{texts[0]}', '{texts[1]}' and '{texts[2]}'."
        )
    return Place(*map(int, texts))


def own_device(device: torch.device, place: Place) -> torch.device:
    """Return the GPU of this process where any GPU is meant and there are several processes; else the device.

    Raises:
        AstSegError: there are fewer GPUs than processes.
    """
    if device.type != "cuda" or device.index is not None or place.count == 1:
        return device
    if place.local_rank >= torch.cuda.device_count():
        raise AstSegError(
            f"{torch.cuda.device_count()} GPUs cannot be shared by more processes. Start one process for each GPU."
        )
    return torch.device("cuda", place.local_rank)


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the processes that were launched together until the block ends in all of them.

    Args:
        device: where this one computes.

    Raises:
        LostProcessError: another process cannot be reached.
        AstSegError: nothing says where the others are.
    """
    place = launched_place()
    if place.count == 1:
        yield
        return
    if not {"MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        raise AstSegError(
            f"WORLD_SIZE says {place.count} processes, but MASTER_ADDR and MASTER_PORT do not say where they meet. "
            "Start them by torchrun, which sets all of these."
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with _noticing_loss():
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=MAX_WAIT, rank=place.rank, world_size=place.count)
    yield
    wait_for_all()  # an error leaves the others without an answer, which ends them too
    dist.destroy_process_group()


def count() -> int:
    """Return how many processes have joined."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process among those that have joined, counted from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Tell whether this is the process that writes."""
    return rank() == 0


def wait_for_all() -> None:
    """Wait until all processes are here."""
    any_of(False)


def any_of(here: bool) -> bool:
    """Tell whether something is so in any process."""
    return here if count() == 1 else bool(add_up(torch.tensor(float(here))))


def add_up(values: Tensor) -> Tensor:
    """Replace a tensor by its sum over all processes; return it.

    Raises:
        LostProcessError: another process cannot be reached.
    """
    if count() > 1:
        with _noticing_loss():
            dist.all_reduce(values)
    return values


def copy_from_first(values: Tensor) -> Tensor:
    """Replace a tensor by that of the first process; return it.

    Raises:
        LostProcessError: another process cannot be reached.
    """
    if count() > 1:
        with _noticing_loss():
            dist.broadcast(values, 0)
    return values


def from_first(value: T) -> T:
    """Return what the first process has.

    Raises:
        LostProcessError: another process cannot be reached.
    """
    if count() == 1:
        return value
    values = [value]
    with _noticing_loss():
        dist.broadcast_object_list(values, 0, device=torch.device("cpu"))
    return values[0]


def by_first(work: Callable[[], T]) -> T:
    """Return what a function returns in the first process, the only one that calls it; its error ends them all.

    Raises:
        LostProcessError: it raised an error in the first process, which that one passes on.
    """
    if count() == 1:
        return work()
    result: tuple[T, ...] = ()
    try:
        if is_first():
            result = (work(),)
    finally:
        result = from_first(result)
    if not result:
        raise _lost()
    return result[0]


@contextmanager
def first_before_others() -> Iterator[None]:
    """Let the first process run a block before the others: what it makes or mends, they find."""
    if not is_first():
        wait_for_all()
    yield
    if is_first():
        wait_for_all()


@contextmanager
def _noticing_loss() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # of which torch's own errors of communication are subclasses
        raise _lost() from error


def _lost() -> LostProcessError:
    return LostProcessError(
        "Another of the processes that work on this has ended or cannot be reached, so this one ends too. "
        "What was saved before is whole, and any number of processes can go on from there."
    )
