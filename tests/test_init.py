"""The package's front door."""

import subprocess
import sys

import pytest

import astseg


@pytest.mark.parametrize("name", astseg.__all__)
def test_every_name_is_there_and_documented(name: str) -> None:
    value = getattr(astseg, name)
    assert name in dir(astseg)
    assert name in ("PRESETS", "__version__") or value.__doc__
    assert name == "__version__" or f"`{name}`" in astseg.__doc__


def test_nothing_is_imported_before_it_is_needed() -> None:
    code = "import sys, astseg; assert not {'torch', 'numpy', 'PIL', 'av', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="load"):
        astseg.load  # noqa: B018


def test_names_for_type_checkers_are_those_that_are_imported() -> None:
    assert sorted([*astseg._MODULE_BY_NAME, "__version__"]) == sorted(astseg.__all__)
