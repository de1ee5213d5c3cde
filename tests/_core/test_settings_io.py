import json
import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from astseg._core.settings_io import (
    Range,
    check_values,
    differing_settings,
    from_builtins,
    override,
    parse_change,
    to_builtins,
)
from astseg.model.architecture import Architecture
from astseg.model.label_rule.settings import LabelRule
from astseg.training.presets import PRESETS
from astseg.training.run_folder import RunSettings


@dataclass(frozen=True)
class Inner:
    sides: tuple[int, int]
    name: str | None = None
    share: float = 0.5

    def __post_init__(self) -> None:
        check_values(self, sides=Range(1), share=Range(0, 1))


@dataclass(frozen=True)
class Outer:
    inner: Inner
    others: tuple[int, ...] = ()
    maybe: Inner | None = None
    made: Inner = field(default_factory=lambda: Inner((9, 9)))
    weight: float = 1.0
    weights: tuple[float, ...] = ()
    count: int | None = None

    def __post_init__(self) -> None:
        check_values(self)
        if 13 in self.others:
            raise ValueError("no thirteen")


@pytest.mark.parametrize(
    "settings",
    [
        Outer(Inner((1, 2))),
        Outer(Inner((1, 2), "a"), (4, 5, 6), Inner((3, 4)), Inner((7, 8))),
    ],
)
def test_through_json_and_back(settings: Outer) -> None:
    assert from_builtins(Outer, json.loads(json.dumps(to_builtins(settings)))) == settings


@pytest.mark.parametrize("value", ["no", 1, None])
def test_truth_is_no_other_value(value: Any) -> None:
    with pytest.raises(ValueError, match=f"^shadows should be True or False, not {value!r}$"):
        Architecture((32, 32), 2, shadows=value)


@pytest.mark.parametrize("name", PRESETS)
def test_every_recipe_goes_through_json(name: str) -> None:
    settings = RunSettings("a run", PRESETS[name].recipe, "data", 3)
    assert from_builtins(RunSettings, json.loads(json.dumps(to_builtins(settings)))) == settings


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"inner": {"sides": [1, 2]}, "others_": []}, "'others_'.*'others'"),
        ({}, "missing required field `inner`"),
        ({"inner": {}}, "missing required field `sides`"),
        ({"inner": {"sides": [1, 2], "nam": "a"}}, r"^inner: .*'nam'.*'name'"),
        ({"inner": {"sides": [1, 2]}, "maybe": {"side": 1}}, r"^maybe: .*'side'"),
        ({"inner": [1, 2]}, "inner should be a group of settings, not a list"),
        ([], "should be a group of settings, not a list"),
        ({"inner": {"sides": [1, 2]}, "others": [13]}, "no thirteen"),
        ({"inner": {"sides": [1, 2, 3]}}, "length 2"),
        ({"inner": {"sides": []}}, r"^inner\.sides should be a list of length 2, not 0$"),
        ({"inner": {"sides": [1, 2]}, "weight": math.nan}, "^weight should be a finite number, not nan"),
        ({"inner": {"sides": [1, 2]}, "weight": "nan"}, "^weight should be a finite number, not 'nan'"),
        ({"inner": {"sides": [1, 2]}, "count": "many"}, "^count should be a whole number or null, not 'many'"),
        ({"inner": {"sides": [1, 2], "share": 2}}, r"^inner\.share should be between 0 and 1, not 2\.0$"),
        ({"inner": {"sides": [0, 2]}}, r"^inner\.sides should each be at least 1, not 0$"),
        ({"inner": {"sides": [1, 2]}, "weight": 1e308}, r"^weight should be at most 1e\+18, not 1e\+308$"),
        ({"inner": {"sides": [1, 2]}, "weights": [math.inf]}, "finite"),
    ],
)
def test_refuses_what_does_not_fit(content: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_builtins(Outer, content)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shadows", "no"),
        ("num_slots", 2.5),
        ("num_slots", True),
        ("image_size", [64.5, 64]),
        ("feature_network", "unett"),
        ("latents", {"appearance": "32"}),
    ],
)
def test_refuses_values_of_wrong_types(name: str, value: object) -> None:
    content = {"image_size": [64, 64], "num_slots": 3, name: value}
    with pytest.raises(ValueError, match=name):
        from_builtins(Architecture, content)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": 1e-60}, "weight should be 0, or a number that single precision holds"),
        ({"weight": -1e308}, r"weight should be at least -1e\+18, not -1e\+308"),
        ({"weight": 10**400}, "weight should be at most"),
        ({"others": (2**31,)}, "others should each be at most 2147483647, not 2147483648"),
        ({"count": 0.5}, r"count should be a whole number, not 0\.5"),
    ],
)
def test_numbers_that_cannot_be_computed_with(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Outer(Inner((1, 2)), **settings)


def test_no_number_is_named_that_may_not_be() -> None:
    with pytest.raises(ValueError, match=r"^likeness should be a number that single precision holds"):
        LabelRule(likeness=1e-60)


def test_differing_settings_are_those_that_not_all_share() -> None:
    recipe = PRESETS["clevrtex-cpu"].recipe
    other = override(recipe, {"architecture.num_slots": 4, "architecture.slow_features": None})
    assert differing_settings(recipe, recipe, recipe) == {}
    found = differing_settings(recipe, recipe, other)
    assert found["architecture.num_slots"] == [10, 10, 4]
    assert found["architecture.slow_features.directions"] == [16, 16, None]
    assert all(name == "architecture.num_slots" or ".slow_features" in name for name in found)


def test_changes_single_values() -> None:
    before = Outer(Inner((1, 2)))
    assert override(before, {"inner.name": "a", "others": [4]}) == Outer(Inner((1, 2), "a"), (4,))
    assert override(before, {"maybe": {"sides": [3, 4]}}).maybe == Inner((3, 4))
    assert override(before, {}) == before


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("inner.nam", "a", "inner: .*'nam'.*'name'"),
        ("inner.zzz", 1, "inner: there is no 'zzz'; there are sides, name, share$"),
        ("iner.name", "a", "the settings: .*'iner'.*'inner'"),
        ("maybe.name", "a", "'maybe' is None here"),
        ("others.first", 1, "group of settings"),
        ("others", [13], "no thirteen"),
        ("others", "x", "others should be a list, not a word"),
    ],
)
def test_refuses_changes_that_do_not_fit(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(Outer(Inner((1, 2))), {name: value})


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("a.b=1e-3", ("a.b", 1e-3)),
        ("a=[1, 2]", ("a", [1, 2])),
        ("a=null", ("a", None)),
        ("a=false", ("a", False)),
        ("a=segformer-b3", ("a", "segformer-b3")),
        ("a=b=c", ("a", "b=c")),
    ],
)
def test_reads_changes(text: str, change: tuple[str, object]) -> None:
    assert parse_change(text) == change


@pytest.mark.parametrize("text", ["", "a", "=1"])
def test_refuses_malformed_changes(text: str) -> None:
    with pytest.raises(ValueError, match="looks like"):
        parse_change(text)
