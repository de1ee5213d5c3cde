from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest

from astseg.evaluation.protocol import describe_labels
from astseg.model.label_rule.settings import LabelRule

RULE = LabelRule(
    background_likeness=0.2, division_likeness=2.0, border_exponent=0.5, noise_multiple=7.0, split_parts=True, looks=2
)
"""One that does all there is to do."""


def described(rule: LabelRule, by_features: bool = False) -> str:
    model: Any = SimpleNamespace(label_rule=rule, slow_features=object() if by_features else None)
    return describe_labels(model, True)


def with_another_value(name: str) -> LabelRule:
    value = getattr(RULE, name)
    return replace(
        RULE, **{name: not value if isinstance(value, bool) else value + 1 if value >= 1 else value / 2 + 0.2}
    )


@pytest.mark.parametrize("by_features", [False, True], ids=["colors", "features"])
@pytest.mark.parametrize("name", asdict(RULE))
def test_rules_that_differ_are_told_apart(name: str, by_features: bool) -> None:
    other = with_another_value(name)
    assert other != RULE
    told = described(other, by_features) != described(RULE, by_features)
    assert told != (by_features and name == "max_shade")  # features know no shade


@pytest.mark.parametrize(
    "name", ["background_likeness", "histogram_pull", "duplicate_likeness", "division_likeness", "noise_multiple"]
)
def test_what_is_not_done_is_not_told(name: str) -> None:
    nothing: Any = 0.0
    without = described(replace(RULE, **{name: nothing}))
    assert len(without) < len(described(RULE))
    assert " 0 " not in without


def test_the_noise_of_a_static_background() -> None:
    assert "differs from the background by 7 times its noise given to slots" in described(RULE)
    shaded = described(replace(RULE, noise_shade=0.5))
    assert "differs from the background, in a shade of up to 50%, by 7 times its noise given to slots" in shaded
