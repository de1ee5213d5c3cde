"""What a checkpoint's file holds: read and checked without executing code from it, and written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from zipfile import ZipFile

import torch
from torch import Tensor

from astseg._core.atomic_io import atomic_write
from astseg._core.checksums import BLOCK_BYTES, is_intact, seal_file
from astseg._core.errors import AstSegError, DamagedCheckpointError
from astseg._core.input_files import regular_size
from astseg._core.settings_io import from_builtins, to_builtins
from astseg._core.tensor_files import load_tensors
from astseg.training.config import Recipe
from astseg.training.data_identity import DataIdentity
from astseg.training.execution import Execution
from astseg.training.phases import phases
from astseg.training.random_states import check_random_states

STATE_VERSION = 4


@dataclass(frozen=True)
class SavedState:
    """The content of a checkpoint, after a check that it is possible. `TrainState` explains the fields that both have.

    Raises:
        ValueError: a value is not a possible one.
    """

    recipe: Recipe
    seed: int
    num_images: int
    phase_index: int
    step: int
    seconds: dict[str, float]
    data: DataIdentity | None
    execution: Execution
    pretrained: bool
    model: dict[str, Tensor]
    """The weights, as ``state_dict`` returns them."""
    optimizer: dict[str, Any] | None
    """The optimizer's ``state_dict``; None between two phases."""
    random: dict[str, Any]
    """The states of torch's random generators (`random_states`)."""

    def __post_init__(self) -> None:
        for name in ("seed", "num_images", "phase_index", "step"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ValueError(f"{name} should be a whole number of at least 0, not {value!r:.80}")
        own = phases(self.recipe)
        # A phase may be over, and not yet closed.
        most = own[self.phase_index].steps if self.phase_index < len(own) else 0
        if self.phase_index > len(own) or self.step > most:
            raise ValueError(f"there is no step {self.step} of phase {self.phase_index}")
        if self.step and not (self.optimizer or {}).get("state"):
            raise ValueError(f"its optimizer remembers nothing of {self.step} steps")
        from_builtins(_Seconds, {"phases": self.seconds})
        check_random_states(self.random)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a checkpoint on the CPU.

        Raises:
            DamagedCheckpointError: the file is not as it was written.
            AstSegError: there is no file, or this version cannot read it.
        """
        try:
            _check_whole(path)
            content = load_tensors(path)
            if content["version"] != STATE_VERSION:
                raise AstSegError(
                    f"{path} is a checkpoint of another version of astseg. Resume with the version that wrote it."
                )
            return cls._of(content)
        except FileNotFoundError as error:
            raise AstSegError(f"There is no checkpoint {path} to resume from. Start a new run.") from error
        except AstSegError:
            raise
        except Exception as error:  # a damaged file makes torch's reader raise almost anything
            reason = first_line(error).rstrip(".")
            raise DamagedCheckpointError(f"{path} is not a readable checkpoint: {reason}.") from error

    @classmethod
    def _of(cls, content: dict[str, Any]) -> Self:
        """Return the state in a file's content, in which an older astseg wrote some values otherwise, or not at all."""
        as_written = ("seed", "num_images", "phase_index", "step", "seconds", "model", "optimizer", "random")
        data = content.get("data")
        execution = content.get("execution", {"precision": content.get("precision", "fp32")})
        return cls(
            recipe=from_builtins(Recipe, content["recipe"]),
            data=None if data is None else from_builtins(DataIdentity, data),
            execution=from_builtins(Execution, execution),
            pretrained=content.get("pretrained", False) is True,
            **{name: content[name] for name in as_written},
        )

    def write(self, path: Path, former: Path | None = None) -> None:
        """Write the file; an older one stays until the new one is complete.

        Args:
            path: the file to write.
            former: where the older file is kept; by default it is replaced.

        Raises:
            AstSegError: the file cannot be written, or the disk is full.
        """
        settings = {"recipe": self.recipe, "data": self.data, "execution": self.execution}
        content = {
            **vars(self),
            **{name: None if value is None else to_builtins(value) for name, value in settings.items()},
            "version": STATE_VERSION,
        }
        with atomic_write(path, former=former) as partial:
            try:
                torch.save(content, partial)
            except RuntimeError as error:  # how torch's writer reports a full disk
                raise OSError(first_line(error)) from error
            seal_file(partial)


@dataclass(frozen=True)
class _Seconds:
    phases: dict[str, float]


def _check_whole(path: Path) -> None:
    """Raise unless a file is as it was written; torch would not notice damage.

    A file of an older astseg has no checksum at its end. Then the checksums of its parts are checked: torch writes
    them, but ignores them when it reads.

    Raises:
        OSError: there is no regular file.
        ValueError: the file is damaged.
        BadZipFile: a part is damaged, or the list of them.
    """
    regular_size(path)  # a pipe would never end
    intact = is_intact(path)
    if intact is False:
        raise ValueError("it is damaged")
    if intact is None:
        with ZipFile(path) as archive:
            # Not by `testzip`, which looks parts up by their names: a damaged name may be that of another part.
            for part in archive.infolist():
                with archive.open(part) as content:
                    while content.read(BLOCK_BYTES):
                        pass


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, or its kind if it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)
