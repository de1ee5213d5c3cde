"""The authors' checkpoint file: up to four state dicts, and values that only training needs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from astseg._core.errors import AstSegError
from astseg._core.tensor_files import load_tensors
from astseg._core.tensors import is_plain
from astseg._core.text import first_names

# The state dicts' keys in the file, and the prefix common to all names in each, if any.
SECTIONS = {
    "encoder_state_dict": "",
    "generator_state_dict": "",
    "background_encoder_state_dict": "background_encoder.",
    "background_generator_state_dict": "background_generator.",
}
_WRAPPER_NAMES = {"module", "_orig_mod"}  # added to names by DataParallel and torch.compile


class CheckpointFile(NamedTuple):
    """The content of a checkpoint file."""

    weights: dict[str, Tensor]
    """All tensors of the state dicts, by their published names."""
    unread: tuple[str, ...]
    """The other entries of the file, such as the optimizer's state."""


def read_checkpoint_file(path: Path) -> CheckpointFile:
    """Read a checkpoint of the authors' program, without executing code from it.

    A checkpoint of the background alone has the same layout, with the background's two networks as
    ``encoder_state_dict`` and ``generator_state_dict``.

    Raises:
        AstSegError: the file cannot be read, holds no state dict of these names, or weights that are no numbers.
    """
    content = _load(path)
    if not isinstance(content, Mapping) or not any(section in content for section in SECTIONS):
        found = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise AstSegError(
            f"{path} is not a checkpoint of the authors' program: expected {', '.join(SECTIONS)}, found {found[:500]}."
        )
    weights: dict[str, Tensor] = {}
    for section, prefix in SECTIONS.items():
        for name, value in _section(path, content, section).items():
            plain = ".".join(part for part in name.split(".") if part not in _WRAPPER_NAMES)
            plain = plain if plain.startswith(prefix) else prefix + plain
            if plain in weights:
                raise AstSegError(f"{path} holds two tensors called {plain}. Give the file as it was published.")
            weights[plain] = value
    problem = ""
    if not weights:
        problem = f"no weights: {', '.join(section for section in SECTIONS if section in content)} should hold tensors"
    elif broken := [name for name, value in weights.items() if not _is_finite(value)]:
        problem = f"weights that are not finite: {first_names(sorted(broken))}"
    if problem:
        raise AstSegError(f"{path} holds {problem}. Give the file as it was published.")
    return CheckpointFile(weights, tuple(str(key) for key in content if key not in SECTIONS))


def _is_finite(value: Tensor) -> bool:
    """Tell whether single precision holds all numbers of a tensor, and each lies in memory."""
    return is_plain(value) and not value.is_complex() and bool(value.float().isfinite().all())


def _load(path: Path) -> Any:
    try:
        return load_tensors(path, _numpy_numbers())
    except OSError as error:
        raise AstSegError(f"Cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise AstSegError(f"{path} cannot be read safely: {error}. Give the file as it was published.") from error


def _numpy_numbers() -> list[Any]:
    """Return the globals that unpickle numpy's scalars, which a training program may have saved beside its weights."""
    scalar = np.float64().__reduce__()[0]
    types = (np.float16, np.float32, np.float64, np.int32, np.int64, np.bool_)
    # The function has moved since the checkpoints were written.
    return [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, *(type(np.dtype(each)) for each in types)]


def _section(path: Path, content: Mapping[str, Any], section: str) -> Mapping[str, Tensor]:
    state = content.get(section)
    if state is None:
        return {}
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise AstSegError(f"{section} in {path} should hold names and tensors. Give the file as it was published.")
    return state
