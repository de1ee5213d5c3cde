import itertools
from typing import Any

import numpy as np
import pytest

from astseg.evaluation import contingency

Labels = np.ndarray[Any, np.dtype[Any]]


class TestContingencyTables:
    def test_chunks_change_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        predicted, true = np.random.default_rng(2).integers(0, 6, (2, 6, 8, 8))
        whole = contingency.contingency_tables(predicted, true)
        monkeypatch.setattr(contingency, "PIXELS_PER_CHUNK", 150)
        np.testing.assert_array_equal(contingency.contingency_tables(predicted, true), whole)
        for image, p, t in itertools.product(range(6), range(6), range(6)):
            assert whole[image, p, t] == np.sum((predicted[image] == p) & (true[image] == t))

    @pytest.mark.parametrize(
        ("predicted", "true"),
        [
            (np.zeros((1, 2, 2), int), np.zeros((1, 2, 3), int)),
            (np.zeros((1, 2, 3), int), np.zeros((1, 3, 2), int)),
            (np.zeros((2, 2), int), np.zeros((2, 2), int)),
            (np.zeros((1, 2, 2)), np.zeros((1, 2, 2), int)),
            (np.full((1, 2, 2), -1), np.zeros((1, 2, 2), int)),
        ],
    )
    def test_refuses_invalid_labels(self, predicted: Labels, true: Labels) -> None:
        with pytest.raises(ValueError, match="labels"):
            contingency.contingency_tables(predicted, true)


def test_the_label_of_an_object_between_others_can_be_ignored() -> None:
    true = np.array([[[0, 1, 1, 2, 2, 3]]])
    tables = contingency.contingency_tables(true, true, ignored_label=2)
    assert tables[0].diagonal().tolist() == [1, 2, 0, 1]


@pytest.mark.parametrize("ignored", [-100, -1, 255, 2**40, 2**63 - 1])
def test_any_integer_can_be_ignored(ignored: int) -> None:
    rng = np.random.default_rng(6)
    predicted, true = rng.integers(0, 4, (2, 2, 6, 6))
    where = rng.random(true.shape) < 0.3
    expected = contingency.contingency_tables(predicted, np.where(where, 9, true), 9)
    np.testing.assert_array_equal(
        contingency.contingency_tables(predicted, np.where(where, ignored, true), ignored), expected
    )
    assert expected.sum() == (~where).sum()
