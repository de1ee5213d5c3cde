"""Scoring of a model on a split with known truth: scores per image, and their means."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from astseg._core.atomic_io import atomic_write
from astseg._core.errors import AstSegError, wrong_argument
from astseg._core.image_conversion import from_uint8_images
from astseg._core.progress import Progress
from astseg._core.text import ENCODING_ERRORS
from astseg.data.regions import regions_of_labels
from astseg.data.store import Split
from astseg.data.truth.mask_files import truth_of_labels
from astseg.evaluation.metrics import PerImage, SegmentationScores, score_segmentations, squared_error
from astseg.evaluation.protocol import describe_protocol
from astseg.evaluation.region_scores import RegionCounter, RegionScores
from astseg.model.ast_seg import AstSeg
from astseg.model.resizing import resized

OPTIONAL_SCORES = ("mse", "shadow_claimed", "lit_claimed")
PER_IMAGE_FILE = "per_image.csv"


@dataclass(frozen=True)
class Evaluation:
    """The scores of one model on one split; all arrays have one value per image."""

    num_slots: int | None
    """K, the largest number of objects that the model can find; None if unknown."""
    protocol: str
    """The definition of the scores, in words."""
    index: Int64[np.ndarray, "images"]
    """The index of the image in its split."""
    objects: Int64[np.ndarray, "images"]
    """The number of true objects; 0 where the foreground is empty."""
    scores: SegmentationScores
    background_everywhere: SegmentationScores
    """The scores of predicting background for every pixel, as a baseline."""
    mse: PerImage | None
    """Squared error summed over channels and pixels; None for a model without a background network."""
    shadow_claimed: PerImage | None
    """The share of the shadow pixels on the true background that are labeled as objects; NaN for an image without
    any. None if the data has no shadow maps."""
    lit_claimed: PerImage | None
    """The same share for the other pixels of the true background, for comparison."""
    regions: RegionScores | None = None
    """The scores of regions, over all images; None if they were not asked for."""
    names: tuple[str, ...] | None = None
    """The names of the images; None for those of a split."""

    def summary(self) -> "ScoreSummary":
        """Return the means over all images and over those of each number of true objects."""
        everything = np.ones(len(self.index), bool)
        numbers = np.unique(self.objects).tolist()
        several = self.objects >= 2
        return ScoreSummary(
            overall=self._means(everything),
            by_objects={number: self._means(self.objects == number) for number in numbers},
            two_or_more_objects=self._means(several) if several.any() else None,
            background_everywhere=_average_scores(self.background_everywhere, everything),
            images_without_foreground=int(np.sum(self.objects == 0)),
            images_with_more_objects_than_slots=0
            if self.num_slots is None
            else int(np.sum(self.objects > self.num_slots)),
            num_slots=self.num_slots,
            protocol=self.protocol,
        )

    def _means(self, chosen: Bool[np.ndarray, "images"]) -> "Means":
        return _average_scores(self.scores, chosen, **{name: getattr(self, name) for name in OPTIONAL_SCORES})


@dataclass(frozen=True)
class Means:
    """Means over some images. The names are those of `SegmentationScores` and `Evaluation`."""

    images: int
    """The number of images."""
    miou: float
    ari_fg: float
    ari: float
    msc_fg: float
    msc: float
    scaled_sc: float
    mse: float | None = None
    shadow_claimed: float | None = None
    """Over the images with a shadow on their background; None if there are none."""
    lit_claimed: float | None = None


@dataclass(frozen=True)
class ScoreSummary:
    """The means of an evaluation."""

    overall: Means
    by_objects: Mapping[int, Means]
    """By the number of true objects in the image."""
    two_or_more_objects: Means | None
    """Over the images with more than one object; None if there are none. An image with a single object has ARI-FG 0 as
    soon as one of the object's pixels has a second label."""
    background_everywhere: Means
    """The scores of predicting background for every pixel."""
    images_without_foreground: int
    images_with_more_objects_than_slots: int
    """These images count like all others, but the model has too few slots to segment them correctly."""
    num_slots: int | None
    protocol: str


def evaluate(
    model: AstSeg,
    split: Split,
    batch_size: int = 64,
    progress: Progress | None = None,
    *,
    use_label_rule: bool = True,
    regions: RegionCounter | None = None,
) -> Evaluation:
    """Segment and reconstruct every image of a split and compare with the truth.

    Labels are compared at the size of the split's images. If that is not the model's size, the images are resized for
    the model, its labels and reconstructions are resized back, and the protocol says so. Images may have more true
    objects than the model has slots; the summary counts them.

    Args:
        model: a model on any device, which keeps its mode.
        split: images with masks, and with shadow maps if there are any.
        batch_size: images at a time; affects only speed and memory.
        progress: called after every batch with the number of images done and their total.
        use_label_rule: False to use the paper's label rule even if the model has another.
        regions: counts the regions of the images, if their scores are wanted.

    Raises:
        TypeError: the model or the split is something else.
        ValueError: the batch size is less than 1.
        AstSegError: the split has no masks or no images, or reconstructions are non-finite.
    """
    _check_scorable(model, split, batch_size)
    assert split.masks is not None
    labels, mse = _predict(model, split, batch_size, progress, use_label_rule, regions)
    if mse is not None and (broken := int(np.sum(~np.isfinite(mse)))):
        raise AstSegError(f"{broken} of {len(split)} reconstructions are non-finite: the model's weights are damaged.")
    scores = score_segmentations(labels, split.masks, model.num_slots + 1, split.ignored_label)
    nothing = score_segmentations(np.zeros_like(labels), split.masks, model.num_slots + 1, split.ignored_label)
    shadow_claimed = lit_claimed = None
    if split.shadows is not None:
        background, shadow = split.masks == 0, split.shadows > 0
        shadow_claimed = _claimed_share(labels, background & shadow)
        lit_claimed = _claimed_share(labels, background & ~shadow)
    return Evaluation(
        num_slots=model.num_slots,
        protocol=describe_protocol(model, split, use_label_rule),
        index=np.arange(len(split)),
        objects=_count_objects(split.masks, split.ignored_label),
        scores=scores,
        background_everywhere=nothing,
        mse=mse,
        shadow_claimed=shadow_claimed,
        lit_claimed=lit_claimed,
        regions=None if regions is None else regions.scores(),
    )


def write_per_image(path: Path | str, evaluation: Evaluation) -> None:
    """Write one line per image as CSV: its index (and name, if it has one), its number of objects, and its scores.

    Cells without a value are empty (the share of shadow pixels in an image without shadow). Scores that the evaluation
    lacks have no column.

    Raises:
        AstSegError: the file cannot be written.
    """
    optional = {name: getattr(evaluation, name) for name in OPTIONAL_SCORES}
    names = {} if evaluation.names is None else {"name": np.array(evaluation.names, np.object_)}
    columns = {
        "index": evaluation.index,
        **names,
        "objects": evaluation.objects,
        "foreground_empty": (evaluation.objects == 0).astype(np.int64),
        **{field.name: getattr(evaluation.scores, field.name) for field in fields(evaluation.scores)},
        **{name: values for name, values in optional.items() if values is not None},
    }
    with atomic_write(path) as partial, partial.open("w", newline="", encoding="utf-8", errors=ENCODING_ERRORS) as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in zip(*(column.tolist() for column in columns.values()), strict=True):
            writer.writerow(["" if value != value else value for value in row])


def _check_scorable(model: object, split: object, batch_size: int) -> None:
    """Raise the errors of `evaluate` unless it can score this model on this split."""
    if not isinstance(model, AstSeg):
        raise wrong_argument("evaluate takes a model, such as load_model('rooms')", model)
    if not isinstance(split, Split):
        raise wrong_argument("evaluate takes images with their truth, a split of a store such as store['test']", split)
    if split.masks is None:
        raise AstSegError(
            f"The split '{split.name}' has no masks, so nothing can be scored. "
            "Evaluate on a split with known truth, or look at the segmentations instead."
        )
    if batch_size < 1:
        raise ValueError(f"the batch size must be at least 1, not {batch_size}")
    if not len(split):
        raise AstSegError(f"The split '{split.name}' has no images, so nothing can be scored.")


def _predict(
    model: AstSeg,
    split: Split,
    batch_size: int,
    progress: Progress | None,
    use_label_rule: bool,
    regions: RegionCounter | None,
) -> tuple[UInt8[np.ndarray, "images height width"], PerImage | None]:
    """Return the labels of all images as bytes, and the images' squared errors."""
    device = next(model.parameters()).device
    labels = np.empty(split.images.shape[:3], np.uint8)
    errors = np.empty(len(split))
    for start in range(0, len(split), batch_size):
        chosen = slice(start, start + batch_size)
        images = from_uint8_images(split.images[chosen], device)
        found, rendering = model.segment_with_rendering(
            images, use_label_rule=use_label_rule, paint_background=model.background is not None
        )
        labels[chosen] = found.labels.cpu().numpy()
        if regions is not None:
            _count_regions(regions, split, start, labels[chosen], found.activations.cpu().tolist())
        if model.background is not None:
            errors[chosen] = squared_error(resized(rendering.image, images.shape[-2:]), images)
        if progress is not None:
            progress(min(start + batch_size, len(split)), len(split))
    return labels, None if model.background is None else errors


def _count_regions(
    regions: RegionCounter,
    split: Split,
    start: int,
    labels: UInt8[np.ndarray, "images height width"],
    activations: Sequence[Sequence[float]],
) -> None:
    """Count the regions of successive images of a split, from the image ``start`` on."""
    assert split.masks is not None
    for index, (found, scores) in enumerate(zip(labels, activations, strict=True), start):
        shadow = None if split.shadows is None else split.shadows[index] > 0
        regions.add(
            regions_of_labels(found, scores), truth_of_labels(split.masks[index], split.ignored_label, shadow=shadow)
        )


def _count_objects(
    masks: UInt8[np.ndarray, "images height width"], ignored_label: int | None
) -> Int64[np.ndarray, "images"]:
    """Return the number of true objects in each image."""
    present = np.array([np.bincount(mask.reshape(-1), minlength=256) > 0 for mask in masks])
    present[:, [0] if ignored_label is None else [0, ignored_label]] = False
    return np.asarray(present.sum(1), np.int64)


def _claimed_share(
    labels: UInt8[np.ndarray, "images height width"], where: Bool[np.ndarray, "images height width"]
) -> PerImage:
    """Return the share of each image's chosen pixels that are labeled as objects; NaN where none are chosen."""
    chosen = where.sum((1, 2))
    claimed = (where & (labels > 0)).sum((1, 2))
    return np.where(chosen > 0, claimed / np.maximum(chosen, 1), np.nan)


def _average_scores(scores: SegmentationScores, chosen: Bool[np.ndarray, "images"], **extras: PerImage | None) -> Means:
    """Return the means over the chosen images; an extra without a value in any of them is None."""
    means = {field.name: float(getattr(scores, field.name)[chosen].mean()) for field in fields(scores)}
    for name, values in extras.items():
        if values is not None and not np.isnan(values[chosen]).all():
            means[name] = float(np.nanmean(values[chosen]))
    return Means(images=int(chosen.sum()), **means)
