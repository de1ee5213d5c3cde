import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from astseg._core.errors import AstSegError
from astseg._core.provenance import Provenance
from astseg.data.store import Store
from astseg.data.store_writer import StoreWriter
from astseg.evaluation.evaluator import Means, ScoreSummary
from astseg.evaluation.scores_file import ScoreRecord, describe_data, read_scores, write_scores

MEANS = Means(4, 0.5, 0.25, 0.75, 0.5, 0.5, 0.5)


@pytest.fixture
def record(tmp_path: Path) -> ScoreRecord:
    writer = StoreWriter(tmp_path / "store", (8, 8), "a source", "a rule", details={"name": "rooms"})
    with writer as store, store.split("test") as split:
        split.append(np.zeros((4, 8, 8, 3), np.uint8), np.zeros((4, 8, 8), np.uint8))
    summary = ScoreSummary(MEANS, {0: MEANS, 12: replace(MEANS, mse=3.5)}, None, MEANS, 1, 0, 3, "how")
    origin = Provenance("0.1.0", "abc", "a machine", "2.0", "3.11")
    data = describe_data(Store(tmp_path / "store"))
    return ScoreRecord(summary, "a/run", data, "test", origin, summary_by_weights=summary, seed=7, seconds={"a": 1.5})


def test_what_is_written_is_read(record: ScoreRecord, tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.json", record)
    assert read_scores(tmp_path / "scores.json") == record
    assert (record.data.dataset, record.data.images) == ("rooms", {"test": 4})


def test_a_non_finite_score_is_not_written(record: ScoreRecord, tmp_path: Path) -> None:
    broken = replace(record.summary, overall=replace(MEANS, miou=float("nan")))
    with pytest.raises(ValueError, match="JSON"):
        write_scores(tmp_path / "scores.json", replace(record, summary=broken))
    assert not (tmp_path / "scores.json").exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"summary": 3}'])
def test_an_invalid_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "scores.json").write_text(content)
    with pytest.raises(AstSegError, match=r"scores\.json"):
        read_scores(tmp_path / "scores.json")


def test_an_unknown_name_is_refused(record: ScoreRecord, tmp_path: Path) -> None:
    file = tmp_path / "scores.json"
    write_scores(file, record)
    file.write_text(json.dumps({**json.loads(file.read_text()), "sumary": {}}))
    with pytest.raises(AstSegError, match="sumary"):
        read_scores(file)
