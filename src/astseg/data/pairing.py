"""Telling images from the masks and maps that lie beside them, by names, sizes and content.

Names come first (`file_roles`). Where they say nothing, twins do: a file of few values beside a photograph of the same
name and size.
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
    INSTANCE_WORDS,
    PAINTED_WORDS,
    Key,
    Name,
    Role,
    parse_name,
    role_of_folder,
)
from astseg.data.image_looks import are_twins, is_deep, is_map, is_mask, is_photograph, is_strictly_mask

T = TypeVar("T")

SAMPLES = 6
"""Files of a group that are looked into."""
MAX_FOLDERS = 16
"""Where more folders hold files of the same names, these are the numbers of frames, and say nothing."""


@dataclass(frozen=True)
class Pairing:
    """What the image files of a folder are."""

    images: tuple[Path, ...]
    masks: Mapping[Path, tuple[Path, ...]] = field(default_factory=dict)
    """The mask of an image, where there is one, or several: then one for each object."""
    notes: tuple[str, ...] = ()
    """What was taken for a mask or a map, and of what, in words."""


class _File(NamedTuple):
    path: Path
    name: Name


def pair(
    files: Sequence[Path], root: Path, masks: Sequence[Path] | None = None, beside: Sequence[Path] = ()
) -> Pairing:
    """Tell the images among a folder's files from masks and maps.

    Args:
        files: the image files below `root`.
        root: the folder that the user named.
        masks: mask files that the user named; then no others are taken.
        beside: mask files in folders beside `root`, which may belong to the images.

    Raises:
        AstSegError: none of the masks that the user named fits an image.
    """
    named = set(masks or ())
    images, groups = _by_role(_File(path, parse_name(path.relative_to(root))) for path in files if path not in named)
    for words, members in list(groups.items()):
        if not _mostly(map(_CHECKS[members[0].name.role], _paths(members))):
            images += groups.pop(words)  # photographs, whatever they are called
    unnamed = _unnamed_groups(images, root)
    masks_unnamed = {file.path for members in unnamed.values() for file in members}
    images = [file for file in images if file.path not in masks_unnamed]
    images, lost = _lost_masks(images)
    found = _Matches(images)
    groups |= unnamed
    # Decoding a few images is dear where there is nothing that it could decide.
    photographs = bool(groups and images) and not _mostly(map(is_mask, _paths(images)))
    twins = []
    for words, members in groups.items():
        twin = found.match(words, members)
        if twin or (photographs and (members[0].name.role == "mask" or all(map(is_deep, _paths(members))))):
            twins.append(twin or _Twins(words, members[0].name.role, members, {}, len(images)))
    twins += [_Twins(words, "mask", members, {}, len(images)) for words, members in lost.items()]
    if masks is not None:
        chosen: _Twins | None = _named_masks(masks, found)
        twins = [*twins, chosen] if chosen else twins
    else:
        chosen = _best(twins) or _best(_match_beside(images, beside, root.absolute().parent))
        twins = twins if chosen in twins or chosen is None else [*twins, chosen]
    left_out = named | {file.path for twin in twins for file in twin.members}
    kept = tuple(path for path in files if path not in left_out)
    return Pairing(kept, chosen.masks if chosen else {}, tuple(_notes(twins, chosen)))


def _best(twins: Iterable["_Twins"]) -> "_Twins | None":
    return min((twin for twin in twins if twin.masks), key=lambda twin: twin.preference, default=None)


def _by_role(files: Iterable[_File]) -> tuple[list[_File], dict[Key, list[_File]]]:
    """Part files into images and groups of masks or maps, which have the same words for their role."""
    images: list[_File] = []
    groups: dict[Key, list[_File]] = {}
    for file in files:
        (images if file.name.role == "image" else groups.setdefault(file.name.words, [])).append(file)
    return images, groups


def _match_beside(images: Sequence[_File], beside: Sequence[Path], root: Path) -> list["_Twins"]:
    """Match masks that lie in a folder beside that of the images."""
    found = _Matches([_File(file.path, parse_name(file.path.absolute().relative_to(root))) for file in images])
    _, groups = _by_role(_File(path, parse_name(path.relative_to(root))) for path in beside)
    return [
        twin
        for words, members in groups.items()
        if _mostly(map(is_mask, _paths(members))) and (twin := found.match(words, members)) and twin.masks
    ]


@dataclass
class _Twins:
    """Files of one kind that lie beside images."""

    words: Key
    role: Role
    members: list[_File]
    masks: dict[Path, tuple[Path, ...]]
    images: int

    @property
    def preference(self) -> tuple[bool, int, int]:
        """Sort the masks to be taken first: most complete, then those of single objects before those of classes."""
        bare = {part for word in self.words for part in word.strip("*").split("_")}
        rank = 1
        if bare & INSTANCE_WORDS:
            rank = 0
        elif bare & PAINTED_WORDS:
            rank = 3
        elif bare & CLASS_WORDS:
            rank = 2
        return len(self.masks) < 0.9 * self.images, rank, -len(self.masks)

    @cached_property
    def place(self) -> str:
        """Say where they are: a folder, or the form of their names."""
        return _place(self.words, self.members)


class _Matches:
    """The images by their keys."""

    def __init__(self, images: Sequence[_File]) -> None:
        self.count = len(images)
        self.by_key: dict[Key, list[Path]] = defaultdict(list)
        self.by_shorter_key: dict[Key, list[Path]] = defaultdict(list)
        """The same without one of the folders, whose name may be no role's: `raw/a.jpg` beside `masks/a.png`."""
        self.by_folder: dict[Key, list[Path]] = defaultdict(list)
        for file in images:
            for key in dict.fromkeys((file.name.key, _without_color(file.name.key))):
                self.by_key[key].append(file.path)
            for key in (file.name.key, *_shorter(file.name.key)):
                self.by_shorter_key[key].append(file.path)
                self.by_folder[key[:-1]].append(file.path)

    def match(self, words: Key, members: list[_File]) -> "_Twins | None":
        """Find the images of masks or maps; None if these files are images themselves, as far as names tell."""
        role: Role = members[0].name.role if members[0].name.role != "image" else "mask"
        in_a_folder = any(not word.startswith("*") for word in words)
        pairs = [(self.by_key[file.name.key], file.path) for file in members]
        if role == "mask" and not any(images for images, _ in pairs):
            pairs = [(self.by_key[key], file.path) for file in members for key in _shorter_stems(file.name.key)]
        if role == "mask" and in_a_folder and not any(images for images, _ in pairs):
            pairs = [(self.by_shorter_key[file.name.key], file.path) for file in members]
        if role == "mask" and in_a_folder and not any(images for images, _ in pairs):
            keys = [(key, file.path) for file in members for key in _shorter(file.name.key)]
            pairs = [(self.by_shorter_key[key], path) for key, path in keys]
        if role == "mask" and in_a_folder and not any(images for images, _ in pairs):
            # A folder with a single image, and a mask for each of its objects.
            pairs = [(self.by_folder[file.name.key[:-1]], file.path) for file in members]
        # A mask belongs to one image: where it would fit several, nothing tells which.
        fitting = {(images[0], mask): None for images, mask in pairs if len(set(images)) == 1}
        if not fitting:
            return None
        masks: dict[Path, tuple[Path, ...]] = {}
        for image, mask in fitting if role == "mask" else ():
            masks[image] = (*masks.get(image, ()), mask)
        return _Twins(words, role, members, masks, self.count)


def _shorter(key: Key) -> list[Key]:
    """Leave out each of a key's folders in turn."""
    return [(*key[:index], *key[index + 1 :]) for index in range(len(key) - 1)]


def _without_color(key: Key) -> Key:
    """Leave out the folders of color images beside depth: `color/0.png` and `depth/0.png`."""
    return (*(name for name in key[:-1] if name not in ("color", "colour", "colors", "colours")), key[-1])


def _shorter_stems(key: Key) -> list[Key]:
    """Leave out the last word or two of a stem: `a_L` belongs to `a`, and `a_3_1` may."""
    words = key[-1].split("_")
    return [(*key[:-1], "_".join(words[:count])) for count in range(len(words) - 1, max(0, len(words) - 3), -1)]


def _lost_masks(images: Sequence[_File]) -> tuple[list[_File], dict[Key, list[_File]]]:
    """Part images from folders of files of few values that lie beside photographs, and whose names fit nothing."""
    folders: dict[Path, list[_File]] = defaultdict(list)
    for file in images:
        folders[file.path.parent].append(file)
    several = {folder: members for folder, members in folders.items() if len(members) > 1} if len(folders) > 1 else {}
    drawn = {folder for folder, members in several.items() if all(map(is_strictly_mask, _paths(members)))}
    others = [file for file in images if file.path.parent not in drawn]
    if not drawn or not others or not _mostly(map(is_photograph, _paths(others))):
        return list(images), {}
    lost: dict[Key, list[_File]] = {(folder.name.lower(),): folders[folder] for folder in sorted(drawn)}
    return others, lost


def _unnamed_groups(images: Sequence[_File], root: Path) -> dict[Key, list[_File]]:
    """Find masks that no name calls so: few-valued twins of photographs, by an ending or by a folder beside.

    They get the keys of their images.
    """
    groups: dict[Key, list[_File]] = {}
    known: set[Path] = set()
    found = (*_by_suffix(images).items(), *_by_ending(images).items(), *_by_folder(images, root).items())
    for words, pairs in found:
        if _mostly(are_twins(mask.path, image.path) for image, mask in _some(pairs)):
            new = [_File(mask.path, image.name) for image, mask in pairs if mask.path not in known]
            known.update(file.path for file in new)
            if new:
                groups[words] = new
    return groups


def _by_suffix(images: Sequence[_File]) -> dict[Key, list[tuple[_File, _File]]]:
    """Pair the files of a folder that have one stem and two suffixes, either way round, by the suffix."""
    stems: dict[Path, list[_File]] = defaultdict(list)
    for file in images:
        stems[file.path.with_suffix("")].append(file)
    pairs: dict[Key, list[tuple[_File, _File]]] = defaultdict(list)
    for alike in stems.values():
        for image, mask in itertools.permutations(alike, 2):
            pairs[(f"*{mask.path.suffix.lower()}",)].append((image, mask))
    return pairs


def _by_ending(images: Sequence[_File]) -> dict[Key, list[tuple[_File, _File]]]:
    """Pair the files of a folder whose stem is another's with an ending, by this ending."""
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
    """Pair the files of the same name in folders whose paths differ in one place, by the name in that place."""
    places: dict[tuple[int, Key, str], dict[str, _File]] = defaultdict(dict)
    for file in images:
        parts = file.path.relative_to(root).parts
        for index in range(len(parts) - 1):
            places[index, (*parts[:index], *parts[index + 1 : -1]), file.path.stem][parts[index]] = file
    pairs: dict[tuple[str, str], list[tuple[_File, _File]]] = defaultdict(list)
    for alike in places.values():
        if len(alike) <= MAX_FOLDERS:
            for (name, mask), (other, image) in itertools.permutations(alike.items(), 2):
                pairs[name, other].append((image, mask))
    totals = Counter(part for file in images for part in set(file.path.relative_to(root).parts[:-1]))
    most: dict[Key, list[tuple[_File, _File]]] = {}
    for (name, _), members in pairs.items():
        if 2 * len(members) >= totals[name] and len(members) > len(most.get((name,), ())):
            most[name,] = members
    return most


_CHECKS: Mapping[Role, Callable[[Path], bool]] = {"mask": is_mask, "map": is_map, "drawn": lambda _: True}


def _mostly(answers: Iterable[bool]) -> bool:
    given = list(answers)
    return 2 * sum(given) > len(given)


def _paths(files: Sequence[_File]) -> list[Path]:
    return [file.path for file in _some(files)]


def _some(items: Sequence[T]) -> list[T]:
    """Take a few, from the first to the last."""
    return [items[index] for index in evenly_spaced(len(items), SAMPLES).tolist()]


def _below(path: Path, folder: Path) -> bool:
    return path.resolve() == folder.resolve() or folder.resolve() in path.resolve().parents


def _named_masks(masks: Sequence[Path], images: _Matches) -> _Twins | None:
    """Match the masks that a user named: by their names below a common folder, or by their names alone."""
    if not images.count:
        return None
    root = Path(os.path.commonpath([path.parent for path in masks]))
    whole = [_File(path, parse_name(Path("masks", path.relative_to(root)))) for path in masks]
    alone = [_File(path, parse_name(Path(path.name))) for path in masks]
    by_stem = _Matches([_File(path, parse_name(Path(path.name))) for paths in images.by_key.values() for path in paths])
    for twins in (images.match(("masks",), whole), by_stem.match((), alone)):
        if twins is not None and twins.masks:
            return twins
    first = next(iter(images.by_key.values()))[0]
    if images.count == len(masks) == 1:
        return _Twins((), "mask", whole, {first: tuple(masks)}, 1)
    raise AstSegError(
        f"No mask in {root} has the name of an image. Images are called {first.name}, masks {masks[0].name}: "
        "give them the same name, such as a.jpg and a.png or a_mask.png."
    )


def _place(words: Key, members: Sequence[_File]) -> str:
    endings = sorted({file.path.suffix.lower() for file in members})
    stars = [word.strip("*") for word in words if word.startswith("*")]
    special = [word for word in stars if word in INSTANCE_WORDS | CLASS_WORDS | PAINTED_WORDS]
    folders = [word for word in words if not word.startswith("*")]
    if not folders:
        return f"{'_'.join(('*', *reversed(stars)))}{endings[0]}"
    inside = next(
        (part for part in members[0].path.parts[-2::-1] if folders[-1] in (role_of_folder(part), part.lower())), None
    )
    return f"{inside or folders[-1]}/" + (f"*_{'_'.join(special)}{endings[0]}" if special else "")


def _notes(twins: Sequence[_Twins], taken: _Twins | None) -> Iterator[str]:
    """Say what was taken for what."""
    for twin in twins:
        count = len(twin.members)
        if twin.role == "map":
            yield f"{twin.place}: {count} maps of depth, normals or the like, no images"
        elif twin.role == "drawn":
            yield f"{twin.place}: {count} images with their masks painted over them"
        elif twin is taken:
            fitting = f"for {len(twin.masks)} of {twin.images} images"
            yield f"{twin.place}: {count} masks, {fitting}; nothing learns from them, they are for scores"
        else:
            why = (
                "by name they fit no image" if not twin.masks else f"those of {taken.place if taken else ''} are taken"
            )
            yield f"{twin.place}: {count} masks; {why}"
