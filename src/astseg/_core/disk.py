"""The disk that files are to be written to."""

import shutil
from pathlib import Path


def free_bytes(place: Path) -> int | None:
    """Return the room, in bytes, on the disk of a file or folder that need not be there yet.

    Returns:
        None where no folder above it is there, as on a drive that Windows does not have.
    """
    place = place.absolute()
    folder = next((folder for folder in (place, *place.parents) if folder.is_dir()), None)
    return None if folder is None else shutil.disk_usage(folder).free
