import math
from typing import Any

import pytest

from astseg.training.schedules import LearningRate, quadratic_warmup


class TestQuadraticWarmup:
    @pytest.mark.parametrize(
        ("step", "expected"), [(0, 0.0), (1, 1e-8), (5_000, 0.25), (9_999, 0.9999**2), (10_000, 1.0), (124_999, 1.0)]
    )
    def test_values_of_equation_22(self, step: int, expected: float) -> None:
        assert quadratic_warmup(step, 10_000) == pytest.approx(expected)

    def test_no_warmup(self) -> None:
        assert quadratic_warmup(0, 0) == 1


class TestPaper:
    """4e-5, quadratic warm-up over 5 000 steps, a tenth from 90 % of 125 000 steps on."""

    RATE = LearningRate(4e-5, warmup_steps=5_000)

    @pytest.mark.parametrize(
        ("step", "expected"),
        [
            (0, 4e-5 / 5_000**2),
            (2_499, 1e-5),
            (4_998, 4e-5 * (4_999 / 5_000) ** 2),
            (4_999, 4e-5),
            (30_000, 4e-5),
            (112_499, 4e-5),
            (112_500, 4e-6),
            (124_999, 4e-6),
        ],
    )
    def test_at_the_boundaries(self, step: int, expected: float) -> None:
        assert self.RATE.at(step, 125_000) == pytest.approx(expected)

    def test_background(self) -> None:
        rate = LearningRate(2e-3, decay_start=0.8)
        found = [rate.at(step, 500_000) for step in (0, 399_999, 400_000, 499_999)]
        assert found == pytest.approx([2e-3, 2e-3, 2e-4, 2e-4])


class TestCosine:
    RATE = LearningRate(1.0, warmup_steps=10, decay="cosine", decay_start=0.4)

    def test_holds_then_falls_along_half_a_cosine(self) -> None:
        found = [self.RATE.at(step, 100) for step in (9, 39, 40, 70, 99)]
        last = 0.5 * (1 + math.cos(math.pi * 59 / 60))
        assert found == pytest.approx([1, 1, 1, 0.5, last])

    def test_never_rises_again(self) -> None:
        rates = [self.RATE.at(step, 100) for step in range(10, 100)]
        assert rates == sorted(rates, reverse=True)
        assert min(rates) > 0

    def test_no_decay_at_all(self) -> None:
        assert LearningRate(1.0, decay="cosine", decay_start=1.0).at(99, 100) == 1


@pytest.mark.parametrize(
    "settings",
    [{"peak": 0.0}, {"warmup_steps": -1}, {"decay_start": 1.1}, {"decay_start": -0.1}, {"decay": "linear"}],
)
def test_refuses_the_impossible(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"^(the )?{next(iter(settings))} should be "):
        LearningRate(**{"peak": 1.0, **settings})
