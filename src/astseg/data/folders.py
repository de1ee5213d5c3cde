"""Finding the images in a folder and their true masks, and naming them."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from astseg._core.errors import AstSegError
from astseg._core.file_names import (
    BACKGROUNDS_FOLDER,
    FOREGROUND_MASKS_FOLDER,
    LABELS_FOLDER,
    OBJECTS_FILE,
    RUN_FILE,
    RUN_KEYS,
    SUMMARY_FILE,
)
from astseg._core.image_files import IMAGE_SUFFIXES, is_image_file
from astseg._core.input_files import NotAFileError, read_json
from astseg._core.text import first_names, folded
from astseg.data.arrays import ARRAY_SUFFIXES, is_array_file
from astseg.data.file_roles import could_hold_masks_of, parse_name
from astseg.data.pairing import match_masks, pair
from astseg.data.store import Store
from astseg.data.video import VIDEO_SUFFIXES

RESULT_SUFFIXES = (".png", ".jpg")
"""Of the files that hold the results of an image, beside its name."""
RUN = "a training run"
"""What `refuse_own_work` calls one."""


@dataclass(frozen=True)
class FoundFiles:
    """The files found in a folder."""

    files: tuple[Path, ...]
    """Images and arrays, in natural order."""
    masks: Mapping[Path, tuple[Path, ...]] = field(default_factory=dict)
    """The masks of those images that have any: one, or one for each object."""
    left_out: tuple[str, ...] = ()
    """Descriptions of everything else in the folder, one for each kind."""


def find_files(folder: Path, masks: Path | None = None) -> FoundFiles:
    """Find all images and arrays in a folder and its subfolders, and the masks of the images.

    Left out are hidden files and folders, linked folders, masks and maps beside images (see `pairing`), and the runs,
    results and prepared data of astseg itself.

    Args:
        folder: the folder to search.
        masks: a file or folder of masks; by default the masks beside the images.

    Raises:
        AstSegError: there are neither images nor arrays, or no mask belongs to an image, or the masks are photographs.
    """
    search = _FolderSearch(folder)
    left_out = search.left_out()
    if not search.readable:
        videos = sum(file.suffix.lower() in VIDEO_SUFFIXES for file in search.others)
        hints = {0: "", 1: " It holds a video: name that instead."}
        hint = hints.get(videos, f" It holds {videos} videos: name one of them instead.")
        beside = f" Left out: {'; '.join(left_out)}." if left_out and not videos else ""
        raise AstSegError(f"{folder} holds no images and no arrays of images.{hint}{beside}")
    files = sorted(search.readable, key=lambda file: natural_key(file.relative_to(folder).as_posix()))
    found = find_among(files, folder, masks)
    return replace(found, left_out=(*found.left_out, *left_out))


def find_among(files: Sequence[Path], folder: Path, masks: Path | None = None) -> FoundFiles:
    """Find the images among image and array files below a folder, and their masks.

    Args:
        files: the files, in the order in which they are to be read.
        folder: the folder that holds them, with its subfolders.
        masks: a file or folder of masks; by default the masks beside the images.

    Raises:
        AstSegError: no mask that the user named belongs to an image, all images are masks, or masks are photographs.
    """
    left_out: tuple[str, ...] = ()
    arrays_of_masks = _find_mask_arrays(files, folder)
    if arrays_of_masks:
        names = first_names([file.relative_to(folder).as_posix() for file in arrays_of_masks])
        left_out = (f"arrays of masks, which should be in the .npz of their images: {len(arrays_of_masks)} ({names})",)
        files = [file for file in files if file not in arrays_of_masks]
    images = [file for file in files if not is_array_file(file)]
    paired = pair(images, folder, _list_named_masks(folder, masks), list(list_sibling_masks(folder)))
    twins = set(images) - set(paired.images)
    kept = tuple(file for file in files if file not in twins)
    if not kept and masks is not None:
        raise AstSegError(f"All images in {folder} were named as masks, by {masks}. Name masks of their own.")
    return FoundFiles(kept, paired.masks, (*paired.notes, *left_out))


def find_masks(file: Path, masks: Path | None = None) -> FoundFiles:
    """Find the mask of a single image file, in a folder beside its own or among the masks that the user named.

    Raises:
        AstSegError: none of the named masks belongs to the image.
    """
    folder = file.absolute().parent
    paired = pair([file.absolute()], folder, _list_named_masks(folder, masks), list(list_sibling_masks(folder)))
    own = paired.masks.get(file.absolute())
    return FoundFiles((file,), {file: own} if own else {}, paired.notes if masks else ())


def find_masks_by_name(names: Sequence[str], masks: Path) -> tuple[Mapping[str, tuple[Path, ...]], int]:
    """Find the masks of images by the images' names alone, which are paths below some folder.

    Args:
        names: of the images, without suffix.
        masks: a file or folder of masks. The images may be in the folder too.

    Returns:
        The masks of each image that has any, and how many masks there are in all.

    Raises:
        AstSegError: there are no masks, or none belongs to an image.
    """
    root = masks.absolute().parent / "images"  # there may be no such folder, nor need there be
    files = _list_named_masks(root, masks) or []
    by_file = {root / f"{name}.png": name for name in names}  # a dot may be in a name, too
    found = match_masks(list(by_file), root, files)
    return {by_file[image]: paths for image, paths in found.items()}, len(files)


def _find_mask_arrays(files: Sequence[Path], folder: Path) -> list[Path]:
    """Find the arrays whose paths name them as masks, unless the paths of all files do."""
    named = [file for file in files if parse_name(file.relative_to(folder)).role == "mask"]
    arrays = [file for file in named if is_array_file(file)]
    return arrays if len(named) < len(files) else []


class _FolderSearch:
    """A walk through a folder that sorts its entries by kind."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.readable: list[Path] = []
        self.others: list[Path] = []
        self.own: list[Path] = []
        self.links: list[Path] = []
        self.forbidden: list[Path] = []
        self.broken_links: list[Path] = []
        self.special: list[Path] = []
        self._folders = [root]
        while self._folders:
            self._look_into(self._folders.pop())

    def _look_into(self, folder: Path) -> None:
        """Sort the entries of a folder; its subfolders come later."""
        try:
            with os.scandir(folder) as found:
                entries = [entry for entry in found if not entry.name.startswith(".")]
        except OSError:
            self.forbidden.append(folder)
            return
        for entry in entries:
            path = folder / entry.name
            if _entry_is(entry.is_file):
                (self.readable if is_readable(path) else self.others).append(path)
            elif not _entry_is(entry.is_dir):
                (self.special if path.exists() else self.broken_links).append(path)
            elif entry.is_symlink():
                self.links.append(path)
            elif _is_made_by_astseg(path):
                self.own.append(path)
            else:
                self._folders.append(path)

    def left_out(self) -> tuple[str, ...]:
        """Describe the entries that are not read, one description for each kind."""
        kinds = [file.suffix.lower() or "no ending" for file in self.others]
        what = (
            ("files of other kinds", len(kinds), set(kinds)),
            ("what astseg made itself", len(self.own), self._names(self.own)),
            ("linked folders", len(self.links), self._names(self.links)),
            ("links that lead nowhere", len(self.broken_links), self._names(self.broken_links)),
            ("pipes, devices and the like", len(self.special), self._names(self.special)),
            ("folders that may not be opened", len(self.forbidden), self._names(self.forbidden)),
        )
        return tuple(f"{words}: {count} ({first_names(sorted(names))})" for words, count, names in what if names)

    def _names(self, folders: Iterable[Path]) -> set[str]:
        return {folder.relative_to(self.root).as_posix() for folder in folders}


def is_searched(place: Path, folder: Path) -> bool:
    """Tell whether a search of a folder comes upon a place below it: none on the way is hidden, linked or astseg's."""
    way = [place, *place.parents]
    return not any(
        one.name.startswith(".") or (one.is_dir() and (one.is_symlink() or _is_made_by_astseg(one)))
        for one in way[: way.index(folder)]
    )


def is_readable(file: Path) -> bool:
    """Tell whether a file is an image or an array, by its suffix or, if that is unknown, by its first bytes."""
    suffix = file.suffix.lower()
    if suffix in IMAGE_SUFFIXES | ARRAY_SUFFIXES:
        return True
    return suffix not in VIDEO_SUFFIXES and is_image_file(file)


def list_readable(folder: Path) -> list[Path]:
    """List the images and arrays in a folder and its subfolders, masks included, in no particular order."""
    return _FolderSearch(folder).readable


def _find_image_files(folder: Path) -> list[Path]:
    return [file for file in list_readable(folder) if file.suffix.lower() in IMAGE_SUFFIXES]


def _list_named_masks(folder: Path, masks: Path | None) -> list[Path] | None:
    """List the mask files that the user named, in whose folder images may lie too; or return None.

    Paths below the folder of the images start with that folder, as the paths of the images do, so that both compare
    equal.

    Raises:
        AstSegError: there are no mask files.
    """
    if masks is None:
        return None
    files = [masks]
    if masks.is_dir():
        files = _masks_among(_find_image_files(masks), masks)
    elif not masks.is_file() or not (masks.suffix.lower() in IMAGE_SUFFIXES or is_image_file(masks)):
        files = []
    if not files:
        raise AstSegError(f"There are no mask files in {masks}. Give a folder of label images, one for each image.")
    root = folder.absolute()
    return [
        folder / file.absolute().relative_to(root) if file.absolute().is_relative_to(root) else file.absolute()
        for file in sorted(files)
    ]


def _masks_among(files: list[Path], folder: Path) -> list[Path]:
    """Return the masks among the files of a folder that holds images too; else all."""
    masks = pair(files, folder).masks.values()
    return list({file for paths in masks for file in paths}) or files


def list_sibling_masks(folder: Path) -> Iterator[Path]:
    """List the files in the folders of masks beside a folder of images; what astseg itself found is not the truth."""
    folder = folder.absolute()  # `.` has no name
    try:
        siblings = [place for place in folder.parent.iterdir() if could_hold_masks_of(place, folder) and place.is_dir()]
    except OSError:
        return
    for place in sorted(siblings):
        if not _is_made_by_astseg(place):
            yield from _find_image_files(place)


def natural_key(text: str) -> tuple[list[list[tuple[str, int]]], str]:
    """Return a sort key of a path by which numbers in names count as numbers.

    >>> sorted(["a10.png", "a2.png", "a.png", "a2/b.png", "a/b.png"], key=natural_key)
    ['a.png', 'a/b.png', 'a2.png', 'a2/b.png', 'a10.png']
    """
    path = PurePosixPath(text.casefold())
    pieces = [re.findall(r"(\D*)(\d*)", part) for part in (*path.parent.parts, path.stem)]
    return [[(letters, int(digits or -1)) for letters, digits in part] for part in pieces], text


def unique_names(files: Sequence[Path], root: Path) -> dict[Path, str]:
    """Return unique names of files: their paths relative to a folder, shortened as by `without_suffixes`."""
    return dict(zip(files, without_suffixes([file.relative_to(root) for file in files]), strict=True))


def without_suffixes(paths: Sequence[Path]) -> list[str]:
    """Return paths without suffix, unless two files, or a folder, would share it.

    They remain unique with .png or .jpg appended, because result files are named so, and on disks for which ``A`` and
    ``a`` are one name.

    >>> without_suffixes([Path("a.jpg"), Path("a.png"), Path("b/c.jpg")])
    ['a.jpg', 'a.png', 'b/c']
    >>> without_suffixes([Path("a.jpg"), Path("a.png"), Path("a.jpg.png/c.jpg")])
    ['a.jpg_', 'a.png', 'a.jpg.png/c']
    """
    folders = {folder for path in paths for folder in path.parents}
    uses = Counter(_folded(path.with_suffix("")) for path in paths)
    uses.update(map(_folded, {*paths, *folders}))
    # Of an array or an animation, a folder may hold the results.
    places = folders | {path.with_suffix("") for path in paths}
    uses.update(_folded(place.with_suffix("")) for place in places if place.suffix.lower() in RESULT_SUFFIXES)
    names = [(path if uses[_folded(path.with_suffix(""))] > 1 else path.with_suffix("")).as_posix() for path in paths]
    return _beside_folders(names, set(map(_folded, folders)))


def _beside_folders(names: Sequence[str], folders: Set[str]) -> list[str]:
    """Return names with as many underscores as they need for no file of results to lie in the place of a folder.

    Args:
        names: the names, all different.
        folders: the folded names of the folders.
    """
    taken, free = set(map(folded, names)), []
    for name in names:
        own = name
        while any(folded(own + suffix) in folders for suffix in RESULT_SUFFIXES) or (
            own != name and folded(own) in taken
        ):
            own += "_"
        taken.add(folded(own))
        free.append(own)
    return free


def _folded(path: Path) -> str:
    return folded(path.as_posix())


def _entry_is(question: Callable[[], bool]) -> bool:
    """Return the answer to a question about a folder's entry; False for broken and circular links."""
    try:
        return question()
    except OSError:
        return False


def holds_results(folder: Path) -> bool:
    """Tell whether a folder holds segmented images, as astseg writes them."""
    return (folder / OBJECTS_FILE).is_file() and (folder / LABELS_FOLDER).is_dir()


def refuse_own_work(folder: Path) -> None:
    """Raise if a folder that is named as one of images holds what astseg has made of some.

    Raises:
        AstSegError: it is a training run, or holds segmented images or foreground masks.
    """
    made = _own_work(folder)
    if made == RUN:
        images = folder / "data"
        advice = f"Its prepared images are in {images}." if Store.is_store(images) else "Name what it was trained on."
        raise AstSegError(f"{folder} is {made}, not a folder of images. {advice}")
    if made is not None:
        raise AstSegError(
            f"{folder} holds {made}, not images. Name the images, or the one of its folders that you mean."
        )


def _is_made_by_astseg(folder: Path) -> bool:
    """Tell whether a folder holds a store, a training run, segmented images or foreground masks of astseg."""
    try:
        return Store.is_store(folder) or _own_work(folder) is not None
    except OSError:  # the search will meet the same error and report it
        return False


def _own_work(folder: Path) -> str | None:
    """Return what astseg has made in a folder, but for a store; None if it has not, or the folder may not be opened."""
    own = {BACKGROUNDS_FOLDER, FOREGROUND_MASKS_FOLDER}
    try:
        if _is_run(folder / RUN_FILE):
            return RUN
        if holds_results(folder):
            return "what was found in images"
        return "backgrounds and masks" if {path.name for path in folder.iterdir()} - {SUMMARY_FILE} == own else None
    except OSError:  # the search will meet the same error and report it
        return None


def _is_run(file: Path) -> bool:
    """Tell whether a file holds the settings of a training run; other programs write a run.json too."""
    try:
        content = read_json(file)
    except (FileNotFoundError, NotAFileError, ValueError):
        return False
    return isinstance(content, dict) and content.keys() >= RUN_KEYS
