from fractions import Fraction
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from astseg.data.benchmarks.protocols import (
    CLEVR_PROTOCOLS,
    CLEVRTEX_TENTHS,
    OBJECTS_ROOM_PROTOCOLS,
    Portion,
    Protocol,
    shapestacks_protocol,
)
from astseg.data.benchmarks.registry import BENCHMARKS, Benchmark

Splits: TypeAlias = dict[str, npt.NDArray[np.int64]]


def bounds(indices: Splits) -> dict[str, tuple[int, int, int]]:
    return {split: (int(run[0]), int(run[-1]), len(run)) for split, run in indices.items()}


def clevr(name: str) -> Splits:
    return next(protocol for protocol in CLEVR_PROTOCOLS if protocol.name == name).indices(100_000)


def test_clevr() -> None:
    assert bounds(clevr("authors")) == {"test": (0, 9_999, 10_000), "train": (10_000, 99_999, 90_000)}
    assert bounds(clevr("clevrtex")) == {
        "test": (0, 14_999, 15_000),
        "validation": (15_000, 29_999, 15_000),
        "train": (30_000, 99_999, 70_000),
    }


def test_genesis_draws_320_of_the_first_10000() -> None:
    indices = clevr("genesis")
    test = indices["test"]
    assert len(np.unique(test)) == 320
    assert 0 <= test.min() < 300
    assert 9_700 < test.max() < 10_000
    assert (np.diff(test) > 0).all()
    np.testing.assert_array_equal(test, clevr("genesis")["test"])
    assert bounds(indices)["train"] == (20_000, 69_999, 50_000)


def test_clevrtex_tenths() -> None:
    assert bounds(CLEVRTEX_TENTHS.indices(50_000)) == {
        "test": (0, 4_999, 5_000),
        "validation": (5_000, 9_999, 5_000),
        "train": (10_000, 49_999, 40_000),
    }
    assert bounds(CLEVRTEX_TENTHS.indices(19)) == {
        "test": (0, 0, 1),
        "validation": (1, 2, 2),
        "train": (3, 18, 16),
    }


def test_objects_room() -> None:
    assert bounds(OBJECTS_ROOM_PROTOCOLS[0].indices(1_000_000))["test"] == (0, 9_999, 10_000)


@pytest.mark.parametrize("benchmark", BENCHMARKS.values(), ids=str)
@pytest.mark.parametrize("total", [100_000, 12_345])
def test_no_image_is_in_two_splits(benchmark: Benchmark, total: int) -> None:
    for protocol in benchmark.protocols:
        chosen = np.concatenate(list(protocol.indices(total).values()))
        assert len(np.unique(chosen)) == len(chosen)
        assert chosen.max() < total


def test_limit_takes_the_first_of_each_split() -> None:
    assert bounds(CLEVRTEX_TENTHS.indices(50, 2)) == {
        "test": (0, 1, 2),
        "validation": (5, 6, 2),
        "train": (10, 11, 2),
    }


def test_empty_splits_are_left_out() -> None:
    assert set(CLEVR_PROTOCOLS[0].indices(9_000)) == {"test"}
    assert Protocol("a", "b", (Portion("test", 5, 8, sample=10),)).indices(7)["test"].tolist() == [5, 6]
    assert Portion("test", Fraction(1, 2), None).indices(5).tolist() == [2, 3, 4]


def test_shapestacks_lists_follow_each_other() -> None:
    protocol = shapestacks_protocol("default", {"train": 32, "validation": 16, "test": 16})
    assert bounds(protocol.indices(64)) == {
        "train": (0, 31, 32),
        "validation": (32, 47, 16),
        "test": (48, 63, 16),
    }
