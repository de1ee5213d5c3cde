"""Reading files that torch has saved, without executing code from them."""

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from astseg._core.input_files import regular_size


def load_tensors(path: Path, globals_allowed: Sequence[Any] = ()) -> Any:
    """Read a file of tensors and plain values on the CPU.

    Args:
        path: the file.
        globals_allowed: what the file may hold beside tensors, as for ``torch.serialization.safe_globals``.

    Raises:
        OSError: there is no regular file, or it cannot be opened.
        ValueError: it is damaged, or holds anything else.
    """
    try:
        _check_sizes(path, regular_size(path))
        with torch.serialization.safe_globals(list(globals_allowed)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a file of another kind makes torch's reader raise almost anything
        # torch suggests loading the file unsafely, so only the object that it found is reported.
        found = re.search(r"GLOBAL (\S+) ", str(error))
        what = f"it holds an object of {found[1]}" if found else "it is damaged or was not written by torch.save"
        raise ValueError(what) from error


def _check_sizes(path: Path, size: int) -> None:
    """Raise if the file claims more than it holds: torch never compresses, and takes memory for what is claimed.

    Raises:
        ValueError: it does.
    """
    if not zipfile.is_zipfile(path):  # the format of torch before 1.6 has no such list
        return
    with zipfile.ZipFile(path) as archive:
        if sum(member.file_size for member in archive.infolist()) > size:
            raise ValueError("its members are larger than the file")
