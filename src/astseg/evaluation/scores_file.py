"""``scores.json``: what a model scored, on what, and by which program. Written and read here alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from astseg._core.atomic_io import atomic_write
from astseg._core.errors import AstSegError
from astseg._core.provenance import Provenance
from astseg._core.settings_io import from_builtins, to_builtins
from astseg.data.store import Store
from astseg.evaluation.evaluator import ScoreSummary

SCORES_FILE = "scores.json"


@dataclass(frozen=True)
class DataDescription:
    """What a result says of its data."""

    source: str
    """Where the images came from, in words."""
    protocol: str
    """How they were chosen, cut and divided."""
    dataset: str | None
    """The published data set or the generated set by its name; None for other images."""
    image_size: tuple[int, int]
    """Height and width in pixels."""
    images: Mapping[str, int]
    """How many each split has."""


@dataclass(frozen=True)
class ScoreRecord:
    """All that the file holds."""

    summary: ScoreSummary
    model: str
    """What was scored: a path or a name."""
    data: DataDescription
    split: str
    provenance: Provenance
    label_rule: bool = True
    """Whether pixels were given to layers by the model's own rule, if it has one."""
    summary_by_weights: ScoreSummary | None = None
    """By the paper's rule, the largest weight; None where the summary is by it."""
    seed: int | None = None
    """The training's; None if it is not known."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """What each phase of the training took; empty if it is not known."""


def describe_data(store: Store) -> DataDescription:
    """Return what a result should say of its data."""
    manifest = store.manifest
    return DataDescription(
        source=manifest.source,
        protocol=manifest.protocol,
        dataset=manifest.details.get("benchmark", manifest.details.get("name")),
        image_size=store.image_size,
        images={name: split.count for name, split in manifest.splits.items()},
    )


def write_scores(path: Path, record: ScoreRecord) -> None:
    """Write a record as JSON.

    Raises:
        AstSegError: the file cannot be written.
        ValueError: a score is no number.
    """
    text = json.dumps(to_builtins(record), indent=2, allow_nan=False)
    with atomic_write(path) as partial:
        partial.write_text(text + "\n")


def read_scores(path: Path) -> ScoreRecord:
    """Read a record.

    Raises:
        AstSegError: there is none that can be understood.
    """
    try:
        return from_builtins(ScoreRecord, json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise AstSegError(f"{path} cannot be understood ({error}). Score the model again.") from error
