import pytest

from astseg.data.scenes.sets import SCENES, scene_set
from astseg.errors import AstSegError


def test_the_six_sets():
    assert {name: (chosen.image_size, chosen.objects) for name, chosen in SCENES.items()} == {
        "rooms": (64, 3),
        "towers": (64, 6),
        "clevr": (128, 10),
        "clevrtex": (128, 10),
        "ood": (128, 10),
        "camo": (128, 10),
    }
    assert all(name == chosen.name and "\n" not in chosen.description for name, chosen in SCENES.items())


def test_an_unknown_set_is_refused_with_the_names_of_all():
    with pytest.raises(AstSegError, match=r"no generated data set 'room'.*rooms, towers, clevr"):
        scene_set("room")
