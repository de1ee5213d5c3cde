import pytest

from astseg._core.errors import AstSegError
from astseg.data.catalog import DATASETS
from astseg.data.scenes.scene_sets import SCENES, get_scene_set


def test_each_look_alike_is_made_for_its_data_set() -> None:
    like = {name: spec for spec in DATASETS.values() for name in spec.look_alikes}
    assert set(SCENES) == {"rooms", "towers", "clevr", "clevrtex", "ood", "camo", "clevrtex-2", "ood-2", "camo-2"}
    for name, chosen in SCENES.items():
        assert (chosen.name, chosen.image_size) == (name, like[name].image_size)
        assert chosen.max_objects == like[name].num_slots


def test_an_unknown_set_is_refused_with_the_nearest_and_all_names() -> None:
    with pytest.raises(AstSegError, match="Did you mean 'rooms'"):
        get_scene_set("room")
