"""A run that several processes share: whether they can, and the state that all begin a phase with."""

import torch

from astseg._core import processes
from astseg._core.errors import AstSegError
from astseg.training.config import Recipe
from astseg.training.execution import Execution
from astseg.training.phases import phases
from astseg.training.state import TrainState


def check_sharing(recipe: Recipe, execution: Execution) -> None:
    """Raise unless each process gets an image of every batch, and can compute its part as asked.

    Raises:
        AstSegError: there are too many processes.
    """
    if processes.count() > 1 and execution.compiled:
        raise AstSegError("A compiled loss is for one process. Start one, or do not compile.")
    smallest = min(phase.settings.batch_size for phase in phases(recipe))
    if processes.count() > smallest:
        raise AstSegError(
            f"{processes.count()} processes cannot share batches of {smallest} images. Start at most {smallest}."
        )


def copy_from_first(state: TrainState) -> None:
    """Take the weights and the states of the random generators over from the first process."""
    if processes.count() == 1:
        return
    for value in state.model.state_dict().values():
        processes.copy_from_first(value)
    torch.set_rng_state(processes.copy_from_first(torch.get_rng_state()))
    if state.device.type != "cpu":
        gpu = torch.get_device_module(state.device)
        gpu.set_rng_state(processes.copy_from_first(gpu.get_rng_state(state.device)), state.device)
