from tests.settings_page import PAGE, page

from astseg._core.settings_io import flatten, to_builtins
from astseg.training.presets import PRESETS


def test_the_page_is_that_of_the_source() -> None:
    assert PAGE.read_text("utf-8") == page(), "write it anew: python -m tests.settings_page"


def test_every_setting_is_there_with_its_meaning() -> None:
    rows = [line.split(" | ") for line in page().splitlines() if line.startswith("| `")]
    meanings = {name.strip("|` "): meaning.strip("| ") for name, _, meaning in rows}
    assert all(meanings.values())
    settings = flatten(to_builtins(PRESETS["clevrtex-cpu"].recipe))  # it has all groups
    assert meanings.keys() == settings.keys()


def test_defaults_are_those_of_the_group() -> None:
    assert "| `background.learning_rate.decay_start` | `0.8` |" in page()
    assert "| `foreground.learning_rate.decay_start` | `0.9` |" in page()
    assert "## `label_rule` (null by default)" in page()
