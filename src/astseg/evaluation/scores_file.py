"""``scores.json``: a model's scores, their data, and the program that computed them. Only this file accesses it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from astseg._core.atomic_io import atomic_write
from astseg._core.errors import AstSegError
from astseg._core.input_files import read_json
from astseg._core.provenance import Provenance
from astseg._core.settings_io import from_builtins, to_builtins
from astseg.data.store import Store
from astseg.evaluation.evaluator import ScoreSummary
from astseg.evaluation.region_scores import RegionScores

SCORES_FILE = "scores.json"


@dataclass(frozen=True)
class DataDescription:
    """The data of a result."""

    source: str
    """The origin of the images, in words."""
    protocol: str
    """How images were selected, cropped and split, in words."""
    dataset: str | None
    """The name of the published or generated data set; None for other images."""
    image_size: tuple[int, int] | None
    """Height and width in pixels; None where images were scored at their own sizes."""
    images: Mapping[str, int]
    """The number of images of each split."""


@dataclass(frozen=True)
class ScoreRecord:
    """The content of the file."""

    summary: ScoreSummary
    model: str
    """The path or name of the model, or the path of the results that were scored without one."""
    data: DataDescription
    split: str
    provenance: Provenance
    label_rule: bool = True
    """Whether labels follow the model's own rule, if it has one."""
    summary_by_weights: ScoreSummary | None = None
    """The summary for the paper's rule, the largest weight; None if ``summary`` already follows it."""
    seed: int | None = None
    """The seed of the training; None if unknown."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """The seconds of each training phase; empty if unknown."""
    regions: RegionScores | None = None
    """The scores of regions; None, and then not in the file, if they were not asked for."""


def describe_data(store: Store) -> DataDescription:
    """Return the description of a store for a result."""
    manifest = store.manifest
    return DataDescription(
        source=manifest.source,
        protocol=manifest.protocol,
        dataset=manifest.details.get("benchmark", manifest.details.get("name")),
        image_size=store.image_size,
        images={name: split.count for name, split in manifest.splits.items()},
    )


def describe_images(source: str, split: str, count: int) -> DataDescription:
    """Return the description of images that were scored without being prepared."""
    return DataDescription(source, "as they are, at their own sizes", None, None, {split: count})


def write_scores(path: Path, record: ScoreRecord) -> None:
    """Write a record as JSON.

    Raises:
        AstSegError: the file cannot be written.
        ValueError: a score is non-finite.
    """
    content = to_builtins(record)
    if record.regions is None:
        del content["regions"]
    text = json.dumps(content, indent=2, allow_nan=False)
    with atomic_write(path) as partial:
        partial.write_text(text + "\n")


def read_scores(path: Path) -> ScoreRecord:
    """Read a record.

    Raises:
        AstSegError: the file is missing or invalid.
    """
    try:
        return from_builtins(ScoreRecord, read_json(path))
    except (OSError, ValueError) as error:
        raise AstSegError(f"{path} cannot be understood ({error}). Score the model again.") from error
