"""The role of an image file by its path: an image, a mask or a map, and which of them belong together.

Data sets put masks beside images in many ways: `images/a.jpg` and `masks/a.png`, `JPEGImages` and `SegmentationObject`
(VOC, CVAT), `leftImg8bit/x_leftImg8bit.png` and `gtFine/x_gtFine_instanceIds.png` (Cityscapes), `input/in000001.jpg`
and `groundtruth/gt000001.png` (CDnet), `a.png` and `a_flat.png` (CLEVRTEX), `a.jpg` and `a_mask.png` (Roboflow),
`rgba_00000.png` and `segmentation_00000.png` (Kubric). They have one thing in common: without the words that name a
role, the paths of an image and its mask are the same.
"""

import re
import unicodedata
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

Role: TypeAlias = Literal["image", "mask", "map", "drawn"]
Key: TypeAlias = tuple[str, ...]

INSTANCE_WORDS = frozenset({"segmentationobject", "instance", "instances", "instanceids", "instanceid", "inst"})
CLASS_WORDS = frozenset(
    {"segmentationclass", "labelids", "labeltrainids", "semantic", "semantics", "trimap", "trimaps", "stuffthingmaps"}
)
COLOR_WORDS = frozenset({"color", "colour", "colors", "colours", "colored"})
_MASK_WORDS = frozenset(
    {
        *("mask", "masks", "label", "labels", "annotation", "annotations", "annot", "annots", "seg", "segs", "segm"),
        *("segmentation", "segmentations", "segmap", "gt", "gtfine", "gtcoarse", "groundtruth", "truth", "flat"),
        *("matte", "mattes", "alpha", "silhouette", "silhouettes", "panoptic", "labeled", "labelled", "figureground"),
        *("bitmask", "bitmasks", "colormap", "colormaps", "msk", "msks", "segmaps", "bitmap", "roi", "cryptomatte"),
        *("cryptoobject", "indexob", "objectindex", "instancegt", "instancesegmentation", "semanticsegmentation"),
        "ah",
    }
)
_MAP_WORDS = frozenset(
    {
        *("depth", "depths", "depthmap", "disparity", "disparities", "disp", "normal", "normals", "flow"),
        *("opticalflow", "albedo", "reflectance", "roughness", "specular", "metallic", "uv", "xyz", "coordinates"),
        *("shadow", "shadows", "displacement", "height", "heightmap", "bump", "gloss", "emission", "occlusion", "ao"),
    }
)
_DRAWN_WORDS = frozenset(
    {"visualization", "visualizations", "segmentationobjectvisualization", "viz"}
    | {"segmentationclassvisualization", "overlay", "overlays"}
)
"""Images with their masks painted over them."""
_IMAGE_WORDS = frozenset(
    {
        *("image", "images", "img", "imgs", "jpegimages", "rgb", "rgba", "rgbs", "photo", "photos", "picture"),
        *("pictures", "pic", "pics", "input", "inputs", "frame", "frames", "leftimg8bit", "original", "originals"),
    }
)
_COMPOUND_WORDS = {
    "object coordinates": "coordinates",
    "forward flow": "flow",
    "backward flow": "flow",
    "optical flow": "flow",
    "ground truth": "truth",
    "figure ground": "figureground",
    "segmentation object": "segmentationobject",
    "segmentation class": "segmentationclass",
    "instance ids": "instanceids",
    "label ids": "labelids",
    "object index": "objectindex",
    "depth meters": "depth",
    "distance to": "depth",
}
"""Pairs of words that name one role."""
_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "trainval": "train",
    "eval": "val",
}
_ROLE_AND_NUMBER = re.compile(
    r"(gt|in|img|image|frame|mask|msk|label|seg|depth|normal|indexob|cryptoobject)([a-z]?\d+)"
)
_NUMBER_AND_ROLE = re.compile(r"(.*\d)(mask|msk|label|seg|gt|depth)")
_SPLIT_AND_ROLE = re.compile(rf"^({'|'.join(_SPLIT_WORDS)})(annot|masks?|labels?|images?)$")
_SPLIT_FOLDER = re.compile(rf"(?:.*_)?({'|'.join(_SPLIT_WORDS)})_?(?:set|\d+|[ab])?")


class Name(NamedTuple):
    """The parts of a file's path."""

    role: Role
    key: Key
    """The same for an image and its masks and maps: folders and stem without the words of a role."""
    words: Key
    """The words of the role: those of the folders first, then those of the stem, which start with a star."""


def parse_name(path: Path) -> Name:
    """Split a relative path into the words of its role and the rest."""
    key, words, groups = [], [], []
    for part in path.parts[:-1]:
        rest, roles = _split_folder_words(_tokens(part))
        words += [(word, "") for word in roles]
        if any(word not in _IMAGE_WORDS for word in roles):
            groups.append(strip_split_words(part))
        if rest:
            key.append("_".join(rest))
    rest, roles = _split_stem_words(path.stem)
    words += [(word, "*") for word in roles]
    key.append("_".join(rest))
    named = [(word, star) for word, star in words if word not in _IMAGE_WORDS]
    if any(word in _DRAWN_WORDS for word, _ in named):
        role: Role = "drawn"
    elif any(word in _MAP_WORDS for word, _ in named):
        role = "map"
    elif any(word in _MASK_WORDS | INSTANCE_WORDS | CLASS_WORDS for word, _ in named) or any(
        word in COLOR_WORDS and star for word, star in named
    ):
        role = "mask"
    else:
        role = "image"
    groups += [star + word for word, star in named if star]
    return Name(role, tuple(key), tuple(groups))


def _tokens(text: str) -> list[str]:
    words = " ".join(token for token in re.split(r"[\W_]+", unicodedata.normalize("NFC", text).lower()) if token)
    for two, one in _COMPOUND_WORDS.items():
        words = re.sub(rf"\b{two}\b", one, words)
    return words.split() or [text.lower()]


def _is_role(token: str) -> bool:
    return token in _MASK_WORDS | _MAP_WORDS | _DRAWN_WORDS | _IMAGE_WORDS | INSTANCE_WORDS | CLASS_WORDS | COLOR_WORDS


def _split_folder_words(tokens: list[str]) -> tuple[list[str], list[str]]:
    """Split a folder's words into those that name it and those that name a role."""
    tokens = " ".join(_SPLIT_AND_ROLE.sub(r"\1 \2", token) for token in tokens).split()
    roles = [token for token in tokens if _is_role(token) and token not in COLOR_WORDS]
    names = [token for token in tokens if token not in roles]
    return ([name for name in names if name not in ("png", "jpg")] if roles else names), roles


def _split_stem_words(stem: str) -> tuple[list[str], list[str]]:
    """Split a stem's words likewise; only the first and the last words can name a role."""
    tokens = _tokens(stem)
    roles: list[str] = []
    if match := _ROLE_AND_NUMBER.fullmatch(tokens[0]):
        roles.append("input" if match[1] == "in" else match[1])
        tokens[0] = match[2]
    if match := _NUMBER_AND_ROLE.fullmatch(tokens[-1]):
        roles.append(match[2])
        tokens[-1] = match[1]
    while tokens and _is_role(tokens[0]):
        roles.append(tokens.pop(0))
    # A number after the word of a role counts frames if there is another number before: `x_000001_depth_0001`.
    if len(tokens) > 2 and tokens[-1].isdigit() and _is_role(tokens[-2]) and any(map(str.isdigit, tokens[:-2])):
        tokens.pop()
    while tokens and _is_role(tokens[-1]):
        roles.append(tokens.pop())
    return tokens, roles


def split_of(path: Path) -> str | None:
    """Return the split that the folders of a path name (`train`, `val` or `test`), or None.

    >>> split_of(Path("images/train2017/a.jpg")), split_of(Path("valid/images/a.jpg")), split_of(Path("test.png"))
    ('train', 'val', None)
    """
    for part in path.parts[:-1]:
        if match := _SPLIT_FOLDER.fullmatch("_".join(_split_folder_words(_tokens(part))[0])):
            return _SPLIT_WORDS[match[1]]
    return None


def could_hold_masks_of(masks: Path, images: Path) -> bool:
    """Tell by name whether a folder holds the masks of another: `masks` of `images`, `a_masks` of `a_images`."""
    (own, words), (others, other_words) = (_split_folder_words(_tokens(folder.name)) for folder in (masks, images))
    named = bool(words) and bool(other_words) and all(word in _IMAGE_WORDS for word in other_words)
    return named and own == others and parse_name(Path(masks.name, "x")).role == "mask"


def strip_split_words(folder: str) -> str:
    """Return a folder's name without the words of a split, so that it is the same for all splits of a set of masks.

    >>> strip_split_words("train_masks"), strip_split_words("masks_human")
    ('masks', 'masks_human')
    """
    tokens = " ".join(_SPLIT_AND_ROLE.sub(r"\1 \2", token) for token in _tokens(folder)).split()
    return "_".join(token for token in tokens if token not in _SPLIT_WORDS)
