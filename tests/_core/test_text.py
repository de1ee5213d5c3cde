import pytest

from astseg._core.text import format_duration


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0.0 s"), (59.96, "1 min 00 s"), (3599.6, "1 h 00 min"), (90061, "25 h 01 min")]
)
def test_duration(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words
