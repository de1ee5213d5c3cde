"""The part of a file that was downloaded so far, and the note beside it of what is known of that part."""

import glob
import json
from pathlib import Path
from typing import BinaryIO, NamedTuple

from astseg._core.atomic_io import atomic_write, sync_opened
from astseg._core.input_files import read_json


class PartNote(NamedTuple):
    """What is known of a part."""

    validator: str
    """The ETag or date of the server's file; empty if the server sent neither that is one; see `is_validator`."""
    size: int
    """The number of its bytes that are surely on the disk."""


class DownloadPart:
    """`NAME.part` beside the file that it is a part of, and its note, `NAME.part.json`.

    Args:
        path: the whole file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".part")
        self._note_file = self.path.with_name(self.path.name + ".json")

    @property
    def kept(self) -> int:
        """How many bytes are kept."""
        note = self.read_note()
        return 0 if note is None else min(file_length(self.path), note.size)

    def read_note(self) -> PartNote | None:
        """Return what is known of the part; None if nothing is."""
        try:
            found = read_json(self._note_file)
            # A text in an older astseg.
            note = PartNote(found, file_length(self.path)) if isinstance(found, str) else PartNote(**found)
            valid = isinstance(note.validator, str) and is_validator(note.validator)
            return note if valid and type(note.size) is int and note.size >= 0 else None
        except (OSError, ValueError, TypeError):
            return None

    def write_note(self, note: PartNote) -> None:
        """Write what is known of the part."""
        with atomic_write(self._note_file) as partial:
            partial.write_text(json.dumps(note._asdict()))

    def sync(self, opened: BinaryIO, note: PartNote) -> None:
        """Put what was written into the open part on the disk, and then the note that says so."""
        opened.flush()
        sync_opened(opened.fileno())
        self.write_note(note)

    def remove_note(self) -> None:
        """Remove what is known of the part, also where a kill left it half written."""
        note = self._note_file
        for file in (note, *note.parent.glob(f".{glob.escape(note.stem)}.*.partial{note.suffix}")):
            file.unlink(missing_ok=True)


def is_validator(text: str) -> bool:
    """Tell whether a text can be sent to a server as the ETag or date of its file, or is empty.

    >>> is_validator('"abc"'), is_validator('"café"')
    (True, False)
    """
    return text.isprintable() and text.isascii()


def file_length(path: Path) -> int:
    """Return the size of a file in bytes; 0 if it is not there."""
    return path.stat().st_size if path.exists() else 0
