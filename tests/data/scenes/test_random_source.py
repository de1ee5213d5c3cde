import colorsys
import math
from typing import Any

import numpy as np
import pytest

from astseg.data.scenes.random_source import WORDS_PER_BLOCK, RandomSource, hue_to_color


def words(count: int = 3, **changes: Any) -> list[int]:
    key: dict[str, Any] = {"name": "rooms", "version": 1, "seed": 5, "index": 7, "attempt": 0}
    source = RandomSource(**key | changes)
    return [source.word() for _ in range(count)]


def test_stream_never_changes() -> None:
    assert words() == [1728626063004392483, 10170372637940219470, 6771107411175340391]


@pytest.mark.parametrize(
    "change",
    [{"name": "towers"}, {"version": 2}, {"seed": 6}, {"index": 8}, {"attempt": 1}, {"index": 2**63}],
    ids=str,
)
def test_every_part_of_the_key_gives_another_stream(change: dict[str, Any]) -> None:
    assert not set(words(600)) & set(words(600, **change))


def test_stream_continues_past_the_first_block_without_repeating() -> None:
    long = words(3 * WORDS_PER_BLOCK)
    assert len(set(long)) == len(long)


def test_uniform_fills_its_range() -> None:
    source = RandomSource("test", 1, 0, 0)
    values = np.array([source.uniform(-2.0, 3.0) for _ in range(4000)])
    assert values.min() >= -2
    assert values.max() < 3
    assert np.histogram(values, 10, (-2, 3))[0] == pytest.approx(400, abs=100)


def test_integers_include_both_ends_and_nothing_else() -> None:
    source = RandomSource("test", 1, 0, 0)
    assert {source.integer(3, 6) for _ in range(300)} == {3, 4, 5, 6}


def test_choice_and_chance() -> None:
    source = RandomSource("test", 1, 0, 0)
    assert {source.choice("abc") for _ in range(100)} == set("abc")
    assert sum(source.chance(0.25) for _ in range(4000)) == pytest.approx(1000, abs=120)


def test_directions_have_length_one_and_point_everywhere() -> None:
    source = RandomSource("test", 1, 0, 0)
    directions = [source.direction() for _ in range(2000)]
    assert all(math.hypot(*direction) == pytest.approx(1) for direction in directions)
    angles = [math.atan2(y, x) for x, y in directions]
    assert np.histogram(angles, 8, (-math.pi, math.pi))[0] == pytest.approx(250, abs=75)


def test_hue_to_color_agrees_with_the_standard_library() -> None:
    for hue in np.linspace(0, 0.999, 50):
        assert hue_to_color(hue, 0.7, 0.8) == pytest.approx(colorsys.hsv_to_rgb(hue, 0.7, 0.8))


def test_colors_keep_to_the_ranges_asked_for() -> None:
    source = RandomSource("test", 1, 0, 0)
    for _ in range(100):
        _, saturation, value = colorsys.rgb_to_hsv(*source.color((0.2, 0.4), (0.5, 0.6)))
        assert 0.2 <= saturation <= 0.4 + 1e-9
        assert 0.5 <= value <= 0.6
