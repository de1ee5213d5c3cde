"""What was found in images, by a model or by any program, held against what is true of them."""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astseg._core.arguments import as_path
from astseg._core.errors import AstSegError, ResultsNotFoundError, TruthNotFoundError, wrong_argument
from astseg._core.image_conversion import from_uint8_images
from astseg._core.progress import Progress
from astseg.data.file_source import FileSource
from astseg.data.regions import Truth, regions_of_labels
from astseg.data.sources import Sample, Source
from astseg.data.truth import CocoTruth, ImageName, TrueImages, open_truth
from astseg.data.truth.mask_files import describe_masks, tells_objects, truth_of_labels
from astseg.data.truth.prepared import StoreTruth
from astseg.evaluation.evaluator import Evaluation
from astseg.evaluation.image_evaluator import ImageEvaluator
from astseg.evaluation.protocol import describe_labels
from astseg.inference.found_results import open_results
from astseg.inference.segmenting import same_sized_batches
from astseg.model.ast_seg import AstSeg


@dataclass(frozen=True)
class ScoredImages:
    """The result of a scoring."""

    evaluation: Evaluation
    left_out: tuple[str, ...]
    """The names of the images of which nothing true is known, or no pixel is to be scored."""
    skipped: tuple[tuple[str, str], ...] = ()
    """(name, reason) for each image that could not be read."""
    without_result: int = 0
    """How many images of which something is true have no result, as far as known."""


def score_source(
    model: AstSeg,
    source: Source,
    truth: TrueImages | None = None,
    batch_size: int = 16,
    progress: Progress | None = None,
    *,
    min_area: int = 0,
    use_label_rule: bool = True,
) -> ScoredImages:
    """Segment the images of a source of which something is true, and score them at their own sizes.

    Args:
        model: the model, on any device.
        source: the images.
        truth: what is true; by default the masks beside the images of a folder.
        batch_size: images of one size that go through the model together.
        progress: called with the number of images done, and of all.
        min_area: see `RegionCounter`.
        use_label_rule: False to use the paper's label rule even if the model has another.

    Raises:
        TypeError: the model or the source is something else.
        AstSegError: nothing true is known of any image, or images or truth cannot be read.
    """
    if not isinstance(model, AstSeg):
        raise wrong_argument("score_source takes a model, such as load_model('rooms')", model)
    if not isinstance(source, Source):
        raise wrong_argument("score_source takes what open_source returns", source)
    known = _TruthOfSource(source, truth)
    device = next(model.parameters()).device
    evaluator = ImageEvaluator(model.num_slots, min_area)
    total = source.estimated_length()
    for batch in same_sized_batches(known, batch_size):
        images = from_uint8_images(np.stack([sample.image for sample in batch]), device)
        found = model.segment(images, use_label_rule=use_label_rule)
        for sample, labels, activations in zip(batch, found.labels, found.activations, strict=True):
            regions = regions_of_labels(labels.cpu().numpy().astype(np.uint8), activations.cpu().tolist())
            evaluator.add(sample.name, regions, known.truths.pop(sample.name))
        if progress is not None:
            progress(evaluator.images + len(known.left_out), total)
    protocol = f"{known.description} {describe_labels(model, use_label_rule)}"
    if not evaluator.images:
        raise known.error()
    return ScoredImages(evaluator.evaluation(protocol), tuple(known.left_out), (*source.skipped, *known.skipped))


def score_results(
    results: Path | str,
    truth: Path | str,
    ignored: frozenset[int] | None = None,
    progress: Progress | None = None,
    *,
    min_area: int = 0,
) -> ScoredImages:
    """Score results that are there already.

    Args:
        results: see `open_results`.
        truth: see `open_truth`.
        ignored: the values of true masks' pixels that are not scored; None to detect them.
        progress: called with the number of images done, and of all.
        min_area: see `RegionCounter`.

    Raises:
        AstSegError: results or truth cannot be read, or do not belong together.
    """
    results, truth = as_path("results", results), as_path("truth", truth)
    known = open_truth(truth, None, ignored)
    found = open_results(results, known.file if isinstance(known, CocoTruth) else None)
    if not found.names:
        raise ResultsNotFoundError(f"{results} holds results of no image.")
    if isinstance(known, StoreTruth) and found.split is not None:
        known = StoreTruth(truth, found.split)
    true = known or open_truth(truth, [name.name for name in found.names], ignored)
    assert true is not None
    evaluator, one_of_each = ImageEvaluator(found.num_slots, min_area), _OneOfEach(true)
    one_of_each.check(found.names)
    left_out = []
    for index, name in enumerate(found.names):
        if (one := one_of_each.find(name)) is None or one.is_void:
            left_out.append(name.file_name or name.name)
        else:
            evaluator.add(name.name, found.read(index), one)
        if progress is not None:
            progress(index + 1, len(found.names))
    if not evaluator.images:
        raise _unrelated(results, found.names[0])
    evaluation = evaluator.evaluation(f"{found.description} {true.description}")
    without_result = 0 if true.count is None else max(0, true.count - evaluator.images)
    return ScoredImages(evaluation, tuple(left_out), without_result=without_result)


class _OneOfEach:
    """What is true of images, of which no two are held against the same."""

    def __init__(self, truth: TrueImages) -> None:
        self._truth = truth
        self.description = truth.description
        self._names: dict[Hashable, str] = {}

    def find(self, image: ImageName) -> Truth | None:
        """Return what is true of an image; None if nothing is known.

        Raises:
            AstSegError: see `check`; or it cannot be read.
        """
        self.check([image])
        return self._truth.find(image)

    def check(self, images: Iterable[ImageName]) -> None:
        """Raise if what is true does not belong to some images: better before any is segmented than midway.

        Raises:
            AstSegError: it does not, or two would be held against the same.
        """
        for image in images:
            key = self._truth.key(image)
            if key is not None and (other := self._names.setdefault(key, image.name)) != image.name:
                raise AstSegError(
                    f"{other} and {image.name} would both be held against what is true of one image. "
                    "Score them one by one."
                )


def _image_name(source: Source, name: str, file_name: str | None) -> ImageName:
    """Return the name of an image of a source; one that is no file of its own has a number that astseg gave."""
    folder = source.path if source.path.is_dir() else source.path.parent
    file = None if file_name is None else folder / file_name
    return ImageName(name, file_name, counted_from_zero=file_name is None, file=file)


def _unrelated(images: Path, name: ImageName) -> AstSegError:
    """Return the error for a truth that knows none of some images."""
    return AstSegError(
        f"What is named as true says nothing of any image in {images}; one is called {name.file_name or name.name}."
    )


class _TruthOfSource:
    """An iterable of the images of a source of which something true is known, which is kept by name meanwhile."""

    def __init__(self, source: Source, truth: TrueImages | None) -> None:
        self._source, self._truth = source, None if truth is None else _OneOfEach(truth)
        if self._truth is not None:
            self._truth.check(_image_name(source, name, file_name) for name, file_name in source.names())
            self.description = self._truth.description
        elif isinstance(source, FileSource):
            self._objects = tells_objects(source.codings, source.masks.values())
            self.description = describe_masks(source.codings, self._objects)
        else:
            raise TruthNotFoundError(f"Nothing true is known of {source.path}. Name its true masks.")
        self._last: ImageName | None = None
        """The latest image that a truth was asked for."""
        self.truths: dict[str, Truth] = {}
        self.left_out: list[str] = []
        """The names of the images of which nothing true is known."""
        self.skipped: list[tuple[str, str]] = []
        """(name, reason) for each image whose mask cannot be used."""

    def __iter__(self) -> Iterator[Sample]:
        for sample in self._source:
            truth = self._find(sample)
            if truth is not None and not truth.is_void:
                self.truths[sample.name] = truth
                yield sample
            elif sample.mask_problem is not None and self._truth is None:
                self.skipped.append((sample.name, sample.mask_problem))
            else:
                self.left_out.append(sample.file_name or sample.name)

    def error(self) -> AstSegError:
        """Return what to raise where nothing true is known of any image."""
        if self._last is not None:
            return _unrelated(self._source.path, self._last)
        return TruthNotFoundError(f"Nothing true is known of any image in {self._source.path}. Name their true masks.")

    def _find(self, sample: Sample) -> Truth | None:
        if self._truth is not None:
            self._last = _image_name(self._source, sample.name, sample.file_name)
            return self._truth.find(self._last)
        if sample.mask is None:
            return None
        return truth_of_labels(sample.mask, self._source.ignored_label, objects=self._objects)
