"""What is true of images: masks in files, an array or prepared data, COCO's instances, or CDnet's sequences."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from astseg._core.errors import AstSegError
from astseg._core.file_names import LABELS_FOLDER
from astseg.data.arrays import is_array_file
from astseg.data.coco import COCO_SUFFIX
from astseg.data.folders import holds_results, list_readable
from astseg.data.store import Store
from astseg.data.truth.cdnet import CdnetTruth, find_cdnet
from astseg.data.truth.coco_truth import CocoTruth
from astseg.data.truth.mask_arrays import ArrayTruth
from astseg.data.truth.mask_files import MaskTruth
from astseg.data.truth.prepared import StoreTruth
from astseg.data.truth.true_images import ImageName, TrueImages

__all__ = ["ArrayTruth", "CdnetTruth", "CocoTruth", "ImageName", "MaskTruth", "StoreTruth", "TrueImages", "open_truth"]


def open_truth(path: Path, names: Sequence[str] | None, ignored: frozenset[int] | None = None) -> TrueImages | None:
    """Open a COCO file, a sequence of CDnet, an array of masks, prepared data, or masks in files.

    Of astseg's own results, the label images are the masks.

    Args:
        path: a file or folder.
        names: of the images, to which mask files are matched; None where the caller matches masks itself.
        ignored: the values of mask pixels that are not scored; None to detect them.

    Returns:
        None if it holds masks in files, and no names are given.

    Raises:
        AstSegError: it cannot be read, belongs to no image, or says itself which pixels are not scored.
    """
    if not path.exists():
        raise AstSegError(f"There is no file or folder {path}.")
    if is_array_file(path):
        return ArrayTruth(path, ignored)
    known: Callable[[], TrueImages]
    if Store.is_store(path):
        known = partial(StoreTruth, path)
    elif sequence := find_cdnet(path):
        known = partial(CdnetTruth, sequence)
    elif path.suffix.lower() == COCO_SUFFIX:
        known = partial(CocoTruth, path)
    else:
        own = holds_results(path)
        masks = path / LABELS_FOLDER if own else path
        if not own:
            _refuse_other_formats(path)
        return None if names is None else MaskTruth(masks, names, ignored, as_shown=own)
    if ignored is not None:
        raise AstSegError(f"{path} says itself which pixels are not scored, so no values can be named that are not.")
    return known()


def _refuse_other_formats(path: Path) -> None:
    """Raise if a folder holds no masks, but what other programs write in place of them.

    Raises:
        AstSegError: it does.
    """
    files = sorted(file for pattern in ("*.json", "*.txt", "*/*.json", "*/*.txt") for file in path.glob(pattern))
    if not files or list_readable(path):
        return
    coco = next((file for file in files if file.suffix == COCO_SUFFIX), None)
    advice = (
        f"If {coco} is a COCO file, name it"
        if coco
        else "Outlines in text, as YOLO has them, are not read: convert them to COCO"
    )
    raise AstSegError(f"{path} holds no masks. {advice}; or give a folder of label images, one for each image.")
