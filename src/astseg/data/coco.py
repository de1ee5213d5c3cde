"""COCO's files of other programs: true instances, and what a program has found."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from astseg._core.errors import AstSegError, describe_mistake
from astseg._core.input_files import read_json
from astseg.data.coco_masks import check_size, read_mask
from astseg.data.regions import Regions, Truth, regions_of_masks

COCO_SUFFIX = ".json"
MAX_COCO_BYTES = 1 << 30
"""COCO's own training set has half of it."""


@dataclass(frozen=True)
class CocoImage:
    """An image of a file, with its annotations as they stand there."""

    id: Any
    file_name: str
    size: tuple[int, int]
    """Height and width."""
    annotations: list[Mapping[str, Any]] = field(default_factory=list)


class CocoFile:
    """A file of images and annotations.

    Raises:
        AstSegError: it cannot be read, or is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content = read_coco(path)
        if not isinstance(content, dict):
            tasks = any(isinstance(one, dict) and "data" in one and "image_id" not in one for one in content)
            what = "Label Studio's tasks, which it can export as COCO too" if tasks else "what was found"
            raise AstSegError(f"{path} is a list of {what}; what names the images is a file with 'images'.")
        try:
            images = [
                CocoImage(image["id"], str(image["file_name"]), check_size(image["height"], image["width"]))
                for image in content["images"]
            ]
            self.images: dict[Any, CocoImage] = {image.id: image for image in images}
            if not all(PurePosixPath(image.file_name).name for image in self.images.values()):
                raise ValueError("an image has no file name")
            if twice := [name for name, count in Counter(image.file_name for image in images).items() if count > 1]:
                raise ValueError(f"two images are called {twice[0]}")
            if twice := [key for key, count in Counter(image.id for image in images).items() if count > 1]:
                raise ValueError(f"two images have the id {twice[0]}")
            for annotation in content["annotations"]:
                if annotation["image_id"] not in self.images:
                    raise ValueError(f"an annotation names image {annotation['image_id']!r}, which 'images' lacks")
                if (crowd := annotation.get("iscrowd")) not in (None, 0, 1):  # "0" would be taken for true
                    raise ValueError(f"'iscrowd' of an annotation is {crowd!r:.80}, and should be 0 or 1")
                self.images[annotation["image_id"]].annotations.append(annotation)
        except (ValueError, KeyError, TypeError) as error:
            raise AstSegError(f"{path} is not a file of COCO's instances: {describe_mistake(error)}.") from error
        self._index = _index_names({image.file_name: image for image in self.images.values()})

    def find(self, name: str, *, same_suffix: bool = False) -> CocoImage | None:
        """Return the image of a name: a path or its end, with or without suffix; None if there is none, or several.

        Args:
            name: what the image is called.
            same_suffix: whether the suffix must be the same.
        """
        keys = _ends(name) if same_suffix else _keys(name)
        return next((self._index[key] for key in keys if key in self._index), None)

    def truth(self, image: CocoImage) -> Truth:
        """Return what is true of an image.

        Raises:
            AstSegError: an annotation is damaged.
        """
        crowds = [one for one in image.annotations if one.get("iscrowd")]
        others = [one for one in image.annotations if not one.get("iscrowd")]
        masks = [read_annotation(one, image, self.path) for one in others]
        return Truth(
            regions_of_masks(masks, image.size), crowds=tuple(read_annotation(one, image, self.path) for one in crowds)
        )


class CocoResults:
    """What a program has found: a list of annotations with scores, or a file with images of its own.

    Args:
        path: the file.
        images: names the images of a list.

    Raises:
        AstSegError: it cannot be read, or is no such file.
    """

    def __init__(self, path: Path, images: CocoFile | None = None) -> None:
        content = read_coco(path)
        self.path = path
        self.images = (
            list(CocoFile(path).images.values()) if isinstance(content, dict) else self._listed(content, images)
        )
        if len({one.get("score") is None for image in self.images for one in image.annotations}) > 1:
            raise AstSegError(f"{path} gives only some objects a score.")

    def _listed(self, content: list[Any], images: CocoFile | None) -> list[CocoImage]:
        """Return the images of a list of results."""
        if images is None:
            raise AstSegError(
                f"{self.path} tells its images by number, so the truth should be a COCO file with these numbers."
            )
        found: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
        try:
            for annotation in content:
                found[annotation["image_id"]].append(annotation)
        except (KeyError, TypeError) as error:
            raise AstSegError(f"{self.path} is not a file of COCO's results: {describe_mistake(error)}.") from error
        if unknown := found.keys() - images.images.keys():
            raise AstSegError(f"{self.path} has an image {min(unknown, key=str)}, which {images.path} does not have.")
        # Images in which nothing is found are not in the list.
        return [CocoImage(one.id, one.file_name, one.size, found[one.id]) for one in images.images.values()]

    def regions(self, image: CocoImage) -> Regions:
        """Return what was found in an image.

        Raises:
            AstSegError: an annotation is damaged.
        """
        masks = [read_annotation(one, image, self.path) for one in image.annotations]
        scores = [one["score"] for one in image.annotations if one.get("score") is not None]
        if not all(isinstance(score, int | float) and abs(score) < math.inf for score in scores):
            raise AstSegError(f"{self.path} has, of {image.file_name}, a score that is not a finite number.")
        return regions_of_masks(masks, image.size, scores if scores else None)


def read_coco(path: Path) -> Any:
    """Read a COCO file.

    Raises:
        AstSegError: it is missing, too large, or no list or object of JSON.
    """
    try:
        content = read_json(path, MAX_COCO_BYTES)
    except FileNotFoundError as error:
        raise AstSegError(f"There is no file {path}.") from error
    except (OSError, ValueError) as error:
        raise AstSegError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(content, dict | list):
        raise AstSegError(f"{path} is no COCO file: it holds {type(content).__name__}, not objects or a list.")
    return content


def read_annotation(annotation: Mapping[str, Any], image: CocoImage, path: Path) -> Any:
    """Return the mask of an annotation as RLE.

    Raises:
        AstSegError: it is damaged.
    """
    try:
        return read_mask(annotation["segmentation"], image.size)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise AstSegError(f"{path} has, of {image.file_name}, {describe_mistake(error)}.") from error


def _index_names(images: Mapping[str, CocoImage]) -> dict[str, CocoImage]:
    """Index images by their names, and by all keys of these that belong to one image alone."""
    counts = Counter(key for name in images for key in set(_keys(name)))
    index = {key: image for name, image in images.items() for key in _keys(name) if counts[key] == 1}
    return {**index, **images}


def _keys(name: str) -> list[str]:
    """Return a name, its ends without folders, and these without suffix, the longest first.

    >>> _keys("a/b.jpg")
    ['a/b.jpg', 'b.jpg', 'a/b', 'b']
    """
    ends = _ends(name)
    return ends + [str(PurePosixPath(end).with_suffix("")) for end in ends if PurePosixPath(end).name]


def _ends(name: str) -> list[str]:
    """Return a name, and its ends without folders, the longest first."""
    path = PurePosixPath(name.replace("\\", "/"))
    return [str(PurePosixPath(*path.parts[start:])) for start in range(len(path.parts))]
