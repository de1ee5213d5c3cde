"""What a run must remember to go on as if it had never stopped."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from astseg.config import Recipe
from astseg.errors import AstSegError
from astseg.files import atomic_write
from astseg.plain import from_builtins, to_builtins

CHECKPOINT_VERSION = 2


@dataclass
class Checkpoint:
    """The whole state of a run between two steps."""

    recipe: Recipe
    seed: int
    pictures: int
    """How many pictures are learned from: with others, another run would go on."""
    phase: int = 0
    """The phase that is under way, counted from 0."""
    step: int = 0
    """The steps of the phase that are done."""
    seconds: dict[str, float] = field(default_factory=dict)
    """The time spent in each phase so far."""
    model: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    random: dict[str, Any] = field(default_factory=dict)
    """The states of torch's random sources."""


def random_state() -> dict[str, Any]:
    """The states of torch's random sources, of the CPU and of all GPUs."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def restore_random_state(state: dict[str, Any]) -> None:
    """Put torch's random sources back. GPUs that were not there before keep theirs."""
    torch.set_rng_state(state["cpu"])
    for device, cuda_state in enumerate(state["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(cuda_state, device)


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint; the one before it stays until the new one is whole.

    Raises:
        AstSegError: the place cannot be written, or the disk is full.
    """
    content = {**vars(checkpoint), "recipe": to_builtins(checkpoint.recipe), "version": CHECKPOINT_VERSION}
    with atomic_write(path) as partial:
        try:
            torch.save(content, partial)
        except RuntimeError as error:  # torch's own writer reports a full disk in this way
            raise OSError(_first_line(error)) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, executing nothing from it.

    Raises:
        AstSegError: no checkpoint is there, or it cannot be read by this version.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        version = content.pop("version")
        if version not in (1, CHECKPOINT_VERSION):
            raise AstSegError(
                f"{path} is a checkpoint of another version of astseg. Go on with the version that wrote it."
            )
        return Checkpoint(**{**content, "recipe": from_builtins(Recipe, content["recipe"])})
    except FileNotFoundError as error:
        raise AstSegError(f"There is no checkpoint {path} to resume from. Start the run anew.") from error
    except AstSegError:
        raise
    except Exception as error:  # a damaged file makes torch's reader raise almost anything
        raise AstSegError(f"{path} is no readable checkpoint: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
