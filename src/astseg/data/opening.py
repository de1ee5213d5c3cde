"""Opening everything that holds images (folders, arrays, videos, prepared data sets) in the same way."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from astseg._core.arguments import as_path
from astseg._core.errors import AstSegError
from astseg._core.image_files import IMAGE_SUFFIXES, is_image_file
from astseg.data.arrays import is_array_file
from astseg.data.file_source import FileSource
from astseg.data.folders import find_files, find_masks
from astseg.data.sources import Sample, Source
from astseg.data.store import Store
from astseg.data.video import VIDEO_SUFFIXES
from astseg.data.video_source import open_video

Kind: TypeAlias = Literal["store", "folder", "array", "image", "video"]


class StoreSource(Source):
    """One split of a prepared data set.

    Args:
        path: the folder.
        split: which split; None for `Store.default_split`.
    """

    def __init__(self, path: Path, split: str | None) -> None:
        super().__init__(path)
        store = Store(path)
        self.split = store.default_split if split is None else split
        self._split = store[self.split]

    def estimated_length(self) -> int | None:
        """Return the exact number of images."""
        return len(self._split)

    def names(self) -> Iterator[tuple[str, str | None]]:
        """Yield the numbers of the images."""
        return ((f"{index:06d}", None) for index in range(len(self._split)))

    @property
    def has_masks(self) -> bool:
        """Whether the split has masks."""
        return self._split.masks is not None

    @property
    def ignored_label(self) -> int | None:
        """The label of pixels that are not scored, as saved in the split."""
        return self._split.ignored_label

    def _samples(self) -> Iterator[Sample]:
        masks = self._split.masks
        for index in range(len(self._split)):
            mask = None if masks is None else np.array(masks[index])
            yield Sample(f"{index:06d}", np.array(self._split.images[index]), mask)


def open_source(
    path: Path | str,
    split: str | None = "test",
    every: int = 1,
    masks: Path | None = None,
    ignored: frozenset[int] | None = None,
    max_frames: int | None = None,
) -> Source:
    """Open a folder, an image, an `.npy` or `.npz` file, a video, or a prepared data set.

    A folder is searched with all subfolders for images and arrays, in natural order (`frame2` before `frame10`); see
    `find_files` for what is left out. The kind of a file with an unknown suffix is detected from its content.

    Args:
        path: what to open; `open_sources` takes several.
        split: the split of a prepared data set to read; None for `Store.default_split`.
        every: take only every n-th frame of a video.
        masks: a file or folder of masks of the images; by default the masks beside them.
        ignored: the values in masks of pixels that are not scored; None to detect them.
        max_frames: take no more frames of a video than these, evenly spread.

    Raises:
        AstSegError: there is nothing, or nothing readable; frames are to be left out of something other than a video;
            or there are no masks where the user named some.
    """
    path = as_path("path", path)
    kind = find_kind(path)
    if masks is not None and kind not in ("folder", "image"):
        raise AstSegError(f"Masks can only be named for image files, and {path} is not one.")
    if ignored is not None and kind in ("video", "store"):
        what = "a video has none" if kind == "video" else "prepared data has its own"
        raise AstSegError(f"The values that are not scored are those of masks beside images: {what}. Omit them.")
    if kind == "video":
        return open_video(path, every, max_frames)
    if every != 1 or max_frames is not None:
        raise AstSegError(f"Only of a video can frames be left out, and {path} is not one.")
    if kind == "store":
        return StoreSource(path, split)
    if kind == "array":
        return FileSource(path, [path], ignored=ignored)
    found = find_files(path, masks) if kind == "folder" else find_masks(path, masks)
    return FileSource(path, found.files, found.left_out, found.masks, ignored)


def find_kind(path: Path) -> Kind:
    """Tell what a path holds, by its suffix or, if that is unknown, its content; what is nothing else may be a video.

    Raises:
        AstSegError: there is nothing, or neither a file nor a folder.
    """
    suffix = path.suffix.lower()
    if not path.exists():
        raise AstSegError(f"There is no file or folder {path}.")
    if path.is_dir():
        return "store" if Store.is_store(path) else "folder"
    if not path.is_file():
        raise AstSegError(f"{path} is a pipe, a device or the like, not a file.")
    if suffix in IMAGE_SUFFIXES:
        return "image"
    if is_array_file(path):
        return "array"
    return "image" if suffix not in VIDEO_SUFFIXES and is_image_file(path) else "video"
