"""The table of data sets compared with the paper, and all aliases."""

import re
import subprocess
import sys

import pytest

from astseg._core.errors import AstSegError
from astseg.data.catalog import DATASETS, SPELLINGS, TRAINING_SETS, evaluated_with, find_dataset
from astseg.paper.ablation import rows_of
from astseg.paper.published import ABLATIONS, SYSTEMS, TIMES

# Side, K, anisotropic, one background for all images: section 5.1 and Table 6.
PUBLISHED = {
    "clevrtex": (128, 10, True, False),
    "clevr": (128, 10, False, True),
    "clevrtex-ood": (128, 10, True, False),
    "clevrtex-camo": (128, 10, True, False),
    "shapestacks": (64, 6, False, False),
    "objectsroom": (64, 3, True, False),
}
OTHER_SPELLINGS = {
    "clevrtex-full": "clevrtex",
    "clevr-png": "clevr",
    "clevrtex-outd": "clevrtex-ood",
    "ood": "clevrtex-ood",
    "camo": "clevrtex-camo",
    "objects-room": "objectsroom",
}
LOOK_ALIKES = {
    "clevrtex": "clevrtex",
    "clevr": "clevr",
    "clevrtex-ood": "ood",
    "clevrtex-camo": "camo",
    "shapestacks": "towers",
    "objectsroom": "rooms",
}


def test_the_papers_sets() -> None:
    found = {
        name: (spec.image_size, spec.num_slots, spec.anisotropic, spec.fixed_background)
        for name, spec in DATASETS.items()
        if spec.trained_on
    }
    assert found == PUBLISHED
    assert {name: spec.look_alike for name, spec in DATASETS.items() if spec.look_alike} == LOOK_ALIKES
    natural = {name: spec.look_alikes[1:] for name, spec in DATASETS.items() if spec.natural_look_alike}
    assert natural == {"clevrtex": ("clevrtex-2",), "clevrtex-ood": ("ood-2",), "clevrtex-camo": ("camo-2",)}
    assert set(DATASETS) - set(PUBLISHED) == {"clevrtex-pbg", "clevrtex-vbg", "clevrtex-grassbg"}
    assert all(
        (DATASETS[name].image_size, DATASETS[name].num_slots) == (128, 10) for name in DATASETS.keys() - PUBLISHED
    )


def test_the_published_rows_are_of_these_sets() -> None:
    assert {row.dataset for row in SYSTEMS} == set(PUBLISHED)
    assert {row.dataset for row in ABLATIONS} == {time.dataset for time in TIMES} == set(TRAINING_SETS)
    assert {spec.name for spec in evaluated_with("clevrtex")} == {row.dataset for row in SYSTEMS} - set(TRAINING_SETS)
    assert not evaluated_with("clevr")


def test_every_spelling_means_one_set() -> None:
    assert {name: spec.name for name, spec in SPELLINGS.items()} == {
        **{name: name for name in DATASETS},
        **OTHER_SPELLINGS,
    }
    for name, spec in SPELLINGS.items():
        assert find_dataset(name) is spec
        assert spec.look_alike not in SPELLINGS or SPELLINGS[spec.look_alike] is spec


@pytest.mark.parametrize(
    ("look_alike", "name"),
    [("rooms", "objectsroom"), ("towers", "shapestacks"), ("clevrtex-2", "clevrtex"), ("ood-2", "clevrtex-ood")],
)
def test_a_look_alike_is_not_the_data_set(look_alike: str, name: str) -> None:
    for find in (find_dataset, rows_of):
        with pytest.raises(
            AstSegError, match=f"'{look_alike}' is the generated look-alike of .*; the data set is '{name}'"
        ):
            find(look_alike)


@pytest.mark.parametrize(
    ("name", "nearest"), [("ObjectsRoom", "objectsroom"), ("clevr-tex", "clevrtex"), ("shapestack", "shapestacks")]
)
def test_the_nearest_name_is_offered(name: str, nearest: str) -> None:
    with pytest.raises(AstSegError, match=re.escape(f"no data set '{name}'. Did you mean '{nearest}'? There are: ")):
        find_dataset(name)


def test_without_a_near_name_all_are_listed() -> None:
    with pytest.raises(AstSegError, match=r"no data set 'cats'\. There are: clevrtex, clevr, "):
        find_dataset("cats")


def test_the_catalogue_loads_nothing_that_is_made_from_it() -> None:
    code = "import sys, astseg.data.catalog; print(*sorted(name for name in sys.modules if name.startswith('astseg')))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == ["astseg", "astseg._core", "astseg._core.errors", "astseg.data", "astseg.data.catalog"]
