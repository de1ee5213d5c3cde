"""Telling images from the masks and maps beside them, by names, sizes and content.

Names come first (`file_roles`). Where they say nothing, a file is a mask if it has few values and is beside a
photograph with the same name and size.
"""

import itertools
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeVar

from astseg._core.errors import AstSegError
from astseg._core.sampling import evenly_spaced
from astseg.data.file_roles import (
    CLASS_WORDS,
    COLOR_WORDS,
    INSTANCE_WORDS,
    Key,
    Name,
    Role,
    parse_name,
    strip_split_words,
)
from astseg.data.image_statistics import (
    is_deep,
    is_map,
    is_mask,
    is_mask_of,
    is_photograph,
    is_strictly_mask,
    refuse_photographs,
)

T = TypeVar("T")

NUM_CHECKED_FILES = 6
"""The number of files of a group whose pixels are checked."""
MAX_SAME_NAME_FOLDERS = 16
"""If more folders than this hold files with the same name, names only count frames and pair nothing."""


@dataclass(frozen=True)
class Pairing:
    """The images, masks and other files among the image files of a folder."""

    images: tuple[Path, ...]
    masks: Mapping[Path, tuple[Path, ...]] = field(default_factory=dict)
    """The masks of those images that have any: one, or one for each object."""
    notes: tuple[str, ...] = ()
    """Descriptions of the files that were taken for masks or maps."""


class _File(NamedTuple):
    path: Path
    name: Name


def pair(
    files: Sequence[Path], root: Path, masks: Sequence[Path] | None = None, beside: Sequence[Path] = ()
) -> Pairing:
    """Separate the images among a folder's files from masks and maps, and pair images with masks.

    Args:
        files: the image files below `root`.
        root: the folder that the user named.
        masks: mask files that the user named; if given, no others are used.
        beside: mask files in folders beside `root`, which may belong to the images.

    Raises:
        AstSegError: no mask that the user named belongs to an image, or those that do are photographs.
    """
    named = set(masks or ())
    images, groups, unmatched = _classify_files([path for path in files if path not in named], root)
    index = _ImageIndex(images)
    sets = _match_groups(groups, images, index)
    sets += [_FileSet(words, "mask", members, len(images)) for words, members in unmatched.items()]
    if masks is not None:
        chosen: _FileSet | None = _checked_named_masks(masks, index)
    else:
        chosen = _best(sets) or _best(_match_beside(images, beside, root.absolute().parent))
    if chosen is not None and chosen not in sets:
        sets.append(chosen)
    left_out = named | {file.path for one in sets for file in one.members}
    kept = tuple(path for path in files if path not in left_out)
    return Pairing(kept, chosen.masks if chosen else {}, tuple(_notes(sets, chosen)))


def match_masks(images: Sequence[Path], root: Path, masks: Sequence[Path]) -> Mapping[Path, tuple[Path, ...]]:
    """Return the masks, of those that the user named, that belong to each image below a folder.

    Raises:
        AstSegError: none belongs to any, or they are photographs.
    """
    index = _ImageIndex([_File(path, parse_name(path.relative_to(root))) for path in images])
    chosen = _checked_named_masks(masks, index)
    return {} if chosen is None else chosen.masks


class _Classified(NamedTuple):
    """The files of a folder, told apart by their names and the pixels of some of them."""

    images: list[_File]
    groups: dict[Key, list[_File]]
    """Masks or maps that may belong to the images, by the words of their role."""
    unmatched: dict[Key, list[_File]]
    """Masks whose names match nothing, by their folders."""


def _classify_files(files: Iterable[Path], root: Path) -> _Classified:
    """Tell the image files below a folder apart."""
    images, groups = _by_role(_File(path, parse_name(path.relative_to(root))) for path in files)
    for words, members in list(groups.items()):
        if not _majority(map(_CHECKS[members[0].name.role], _sample_paths(members))):
            images += groups.pop(words)  # photographs, whatever their names say
    unnamed = _unnamed_groups(images, root)
    unnamed_masks = {file.path for members in unnamed.values() for file in members}
    images, unmatched = _split_off_unmatched_masks([file for file in images if file.path not in unnamed_masks])
    return _Classified(images, groups | unnamed, unmatched)


def _match_groups(groups: Mapping[Key, list[_File]], images: Sequence[_File], index: "_ImageIndex") -> list["_FileSet"]:
    """Return the groups that belong to images by their names, or are masks or maps without images by their pixels."""
    # Images are only decoded if there are groups to decide about.
    photographs = bool(groups and images) and not _majority(map(is_mask, _sample_paths(images)))
    sets = []
    for words, members in groups.items():
        role = members[0].name.role
        matched = index.match(words, members)
        if matched is not None:
            sets.append(matched)
        elif photographs and (role == "mask" or all(map(is_deep, _sample_paths(members)))):
            sets.append(_FileSet(words, role, members, len(images)))
    return sets


def _best(sets: Iterable["_FileSet"]) -> "_FileSet | None":
    """Return the preferred set of those with masks of images; None if there is none."""
    return min((one for one in sets if one.masks), key=lambda one: one.preference, default=None)


def _by_role(files: Iterable[_File]) -> tuple[list[_File], dict[Key, list[_File]]]:
    """Separate files into images and groups of masks or maps with the same words for their role."""
    images: list[_File] = []
    groups: dict[Key, list[_File]] = {}
    for file in files:
        (images if file.name.role == "image" else groups.setdefault(file.name.words, [])).append(file)
    return images, groups


def _match_beside(images: Sequence[_File], beside: Sequence[Path], root: Path) -> list["_FileSet"]:
    """Match masks in a folder beside that of the images."""
    index = _ImageIndex([_File(file.path, parse_name(file.path.absolute().relative_to(root))) for file in images])
    _, groups = _by_role(_File(path, parse_name(path.relative_to(root))) for path in beside)
    masks = {words: members for words, members in groups.items() if _majority(map(is_mask, _sample_paths(members)))}
    matched = (index.match(words, members) for words, members in masks.items())
    return [one for one in matched if one is not None and one.masks]


@dataclass
class _FileSet:
    """A set of masks or maps beside images."""

    words: Key
    role: Role
    members: list[_File]
    images: int
    """The number of images beside them, whether these have masks or not."""
    masks: dict[Path, tuple[Path, ...]] = field(default_factory=dict)
    """Which members belong to an image, of each that has any."""

    @property
    def preference(self) -> tuple[bool, int, int]:
        """A sort key: nearly complete sets of masks first, then masks of objects before masks of classes."""
        bare = {part for word in self.words for part in word.strip("*").split("_")}
        rank = 0 if bare & INSTANCE_WORDS else 3 if bare & COLOR_WORDS else 2 if bare & CLASS_WORDS else 1
        return len(self.masks) < 0.9 * self.images, rank, -len(self.masks)

    @cached_property
    def place(self) -> str:
        """The folder of the files, or the pattern of their names."""
        ending = min(file.path.suffix.lower() for file in self.members)
        stars = [word.strip("*") for word in self.words if word.startswith("*")]
        special = [word for word in stars if word in INSTANCE_WORDS | CLASS_WORDS | COLOR_WORDS]
        folders = [word for word in self.words if not word.startswith("*")]
        if not folders:
            return f"{'_'.join(('*', *reversed(stars)))}{ending}"
        parts = self.members[0].path.parts[-2::-1]
        inside = next((part for part in parts if folders[-1] in (strip_split_words(part), part.lower())), folders[-1])
        return f"{inside}/" + (f"*_{'_'.join(special)}{ending}" if special else "")


class _ImageIndex:
    """An index of images by the keys of their names."""

    def __init__(self, images: Sequence[_File]) -> None:
        self.count = len(images)
        self.by_key: dict[Key, list[Path]] = defaultdict(list)
        self.by_shorter_key: dict[Key, list[Path]] = defaultdict(list)
        """Also by keys without one folder, whose name may be unknown: `raw/a.jpg` beside `masks/a.png`."""
        self.by_folder: dict[Key, list[Path]] = defaultdict(list)
        for file in images:
            for key in dict.fromkeys((file.name.key, _without_color(file.name.key))):
                self.by_key[key].append(file.path)
            for key in (file.name.key, *_shorter(file.name.key)):
                self.by_shorter_key[key].append(file.path)
                self.by_folder[key[:-1]].append(file.path)

    def match(self, words: Key, members: list[_File]) -> "_FileSet | None":
        """Find the images to which masks or maps belong; None if these files are, by their names, images themselves."""
        role: Role = members[0].name.role if members[0].name.role != "image" else "mask"
        in_a_folder = any(not word.startswith("*") for word in words)
        lookups: list[tuple[dict[Key, list[Path]], Callable[[Key], list[Key]]]] = [(self.by_key, lambda key: [key])]
        if role == "mask":
            lookups.append((self.by_key, _shorter_stems))
        if role == "mask" and in_a_folder:
            lookups += [(self.by_shorter_key, lambda key: [key]), (self.by_shorter_key, _shorter)]
            # A folder with a single image and a mask for each object.
            lookups.append((self.by_folder, lambda key: [key[:-1]]))
        pairs: list[tuple[list[Path], Path]] = []
        for table, keys in lookups:
            pairs = [(table[key], file.path) for file in members for key in keys(file.name.key)]
            if any(images for images, _ in pairs):
                break
        # A mask belongs to one image. If it fits several, it is unknown to which.
        fitting = {(found[0], mask): None for images, mask in pairs if len(found := _best_named(images, mask)) == 1}
        if not fitting:
            return None
        masks: dict[Path, tuple[Path, ...]] = {}
        for image, mask in fitting if role == "mask" else ():
            masks[image] = (*masks.get(image, ()), mask)
        return _FileSet(words, role, members, self.count, masks)


def _best_named(images: Sequence[Path], mask: Path) -> list[Path]:
    """Return the different images whose names fit a mask's; of several, those that are spelled just as it is."""
    different = list(dict.fromkeys(images))
    same = [image for image in different if image.stem == mask.stem]
    return same or different


def _shorter(key: Key) -> list[Key]:
    """Return the keys without one of the folders each."""
    return [(*key[:index], *key[index + 1 :]) for index in range(len(key) - 1)]


def _without_color(key: Key) -> Key:
    """Return a key without folders of color images, which are beside depth: `color/0.png` and `depth/0.png`."""
    return (*(name for name in key[:-1] if name not in ("color", "colour", "colors", "colours")), key[-1])


def _shorter_stems(key: Key) -> list[Key]:
    """Return the keys without the last one or two words of the stem: `a_L` belongs to `a`, and `a_3_1` may."""
    words = key[-1].split("_")
    return [(*key[:-1], "_".join(words[:count])) for count in range(len(words) - 1, max(0, len(words) - 3), -1)]


def _split_off_unmatched_masks(images: Sequence[_File]) -> tuple[list[_File], dict[Key, list[_File]]]:
    """Split off folders of files with few values beside photographs, whose names match nothing."""
    folders: dict[Path, list[_File]] = defaultdict(list)
    for file in images:
        folders[file.path.parent].append(file)
    several = {folder: members for folder, members in folders.items() if len(members) > 1} if len(folders) > 1 else {}
    drawn = {folder for folder, members in several.items() if all(map(is_strictly_mask, _sample_paths(members)))}
    others = [file for file in images if file.path.parent not in drawn]
    if not drawn or not others or not _majority(map(is_photograph, _sample_paths(others))):
        return list(images), {}
    unmatched: dict[Key, list[_File]] = {(folder.name.lower(),): folders[folder] for folder in sorted(drawn)}
    return others, unmatched


def _unnamed_groups(images: Sequence[_File], root: Path) -> dict[Key, list[_File]]:
    """Find masks whose names do not say so: files with few values beside a photograph of the same name.

    They get the names of their images.
    """
    groups: dict[Key, list[_File]] = {}
    known: set[Path] = set()
    found = (*_by_suffix(images).items(), *_by_ending(images).items(), *_by_folder(images, root).items())
    for words, pairs in found:
        if _majority(is_mask_of(mask.path, image.path) for image, mask in _sample_evenly(pairs)):
            new = [_File(mask.path, image.name) for image, mask in pairs if mask.path not in known]
            known.update(file.path for file in new)
            if new:
                groups[words] = new
    return groups


def _by_suffix(images: Sequence[_File]) -> dict[Key, list[tuple[_File, _File]]]:
    """Pair files with the same stem and different suffixes, in both directions, by the suffix of the second."""
    stems: dict[Path, list[_File]] = defaultdict(list)
    for file in images:
        stems[file.path.with_suffix("")].append(file)
    pairs: dict[Key, list[tuple[_File, _File]]] = defaultdict(list)
    for alike in stems.values():
        for image, mask in itertools.permutations(alike, 2):
            pairs[(f"*{mask.path.suffix.lower()}",)].append((image, mask))
    return pairs


def _by_ending(images: Sequence[_File]) -> dict[Key, list[tuple[_File, _File]]]:
    """Pair files whose stems differ by an ending, grouped by this ending."""
    stems = {(file.path.parent, file.path.stem): file for file in images}
    pairs: dict[Key, list[tuple[_File, _File]]] = defaultdict(list)
    for file in images:
        for cut in [match.start() for match in re.finditer(r"[^0-9A-Za-z]", file.path.stem)][::-1]:
            if (image := stems.get((file.path.parent, file.path.stem[:cut]))) is not None:
                ending = re.sub(r"\d+", "0", file.path.stem[cut + 1 :])
                pairs[(f"*{ending}",)].append((image, file))
                break
    return pairs


def _by_folder(images: Sequence[_File], root: Path) -> dict[Key, list[tuple[_File, _File]]]:
    """Pair files of the same name in folders whose paths differ in one part, grouped by the part of the second."""
    places: dict[tuple[int, Key, str], dict[str, _File]] = defaultdict(dict)
    for file in images:
        parts = file.path.relative_to(root).parts
        for index in range(len(parts) - 1):
            places[index, (*parts[:index], *parts[index + 1 : -1]), file.path.stem][parts[index]] = file
    pairs: dict[tuple[str, str], list[tuple[_File, _File]]] = defaultdict(list)
    for alike in places.values():
        if len(alike) <= MAX_SAME_NAME_FOLDERS:
            for (name, mask), (other, image) in itertools.permutations(alike.items(), 2):
                pairs[name, other].append((image, mask))
    totals = Counter(part for file in images for part in set(file.path.relative_to(root).parts[:-1]))
    most: dict[Key, list[tuple[_File, _File]]] = {}
    for (name, _), members in pairs.items():
        if 2 * len(members) >= totals[name] and len(members) > len(most.get((name,), ())):
            most[name,] = members
    return most


_CHECKS: Mapping[Role, Callable[[Path], bool]] = {"mask": is_mask, "map": is_map, "drawn": lambda _: True}


def _majority(answers: Iterable[bool]) -> bool:
    given = list(answers)
    return 2 * sum(given) > len(given)


def _sample_paths(files: Sequence[_File]) -> list[Path]:
    """Return the paths of a few files."""
    return [file.path for file in _sample_evenly(files)]


def _sample_evenly(items: Sequence[T]) -> list[T]:
    """Return a few items, evenly spaced from the first to the last."""
    return [items[index] for index in evenly_spaced(len(items), NUM_CHECKED_FILES).tolist()]


def _checked_named_masks(masks: Sequence[Path], images: _ImageIndex) -> _FileSet | None:
    """Match the masks that the user named, unless they are photographs."""
    matched = _match_named_masks(masks, images)
    if matched is not None:
        refuse_photographs([path for paths in matched.masks.values() for path in paths], "the folder of masks")
    return matched


def _match_named_masks(masks: Sequence[Path], images: _ImageIndex) -> _FileSet | None:
    """Match the masks that the user named, by their paths below a common folder or by their names alone."""
    if not images.count:
        return None
    root = Path(os.path.commonpath([path.parent for path in masks]))
    whole = [_File(path, parse_name(Path("masks", path.relative_to(root)))) for path in masks]
    alone = [_File(path, parse_name(Path(path.name))) for path in masks]
    by_stem = _ImageIndex(
        [_File(path, parse_name(Path(path.name))) for paths in images.by_key.values() for path in paths]
    )
    for matched in (images.match(("masks",), whole), by_stem.match((), alone)):
        if matched is not None and matched.masks:
            return matched
    first = next(iter(images.by_key.values()))[0]
    if images.count == len(masks) == 1:
        return _FileSet((), "mask", whole, 1, {first: tuple(masks)})
    raise AstSegError(
        f"No mask in {root} has the name of an image. Images are called {first.name}, masks {masks[0].name}: "
        "give them the same names, such as a.jpg and a.png or a_mask.png."
    )


def _notes(sets: Sequence[_FileSet], taken: _FileSet | None) -> Iterator[str]:
    """Describe each set of masks or maps."""
    for one in sets:
        count = len(one.members)
        if one.role == "map":
            yield f"{one.place}: {count} maps of depth, normals or the like, not images"
        elif one.role == "drawn":
            yield f"{one.place}: {count} images with their masks painted over them"
        elif one is taken:
            fitting = f"for {len(one.masks)} of {one.images} images"
            yield f"{one.place}: {count} masks, {fitting}; nothing learns from them, they are for scores"
        else:
            why = "their names fit no image" if not one.masks else f"those of {taken.place if taken else ''} are taken"
            yield f"{one.place}: {count} masks; {why}"
