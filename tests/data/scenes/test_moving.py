import hashlib

import numpy as np
import pytest

from astseg._core.errors import AstSegError
from astseg.data.scenes.generation import Scenes
from astseg.data.scenes.moving import MAX_FRAMES, NAME, VERSION, compose, render_sequence
from astseg.data.scenes.placement import clear_of
from astseg.data.scenes.random_source import RandomSource

# What seed 0 stands for. A change here breaks everybody's data: raise the version with it.
GOLDEN = "114168f512509baff6c36a179586fbb1388e942e8c8efe767e223dab17bc08cb"


@pytest.fixture(scope="module")
def sequence() -> Scenes:
    return render_sequence(0, 0, 60, 32)


def test_sequences_never_change() -> None:
    scenes = render_sequence(0, 0, 4)
    content = scenes.images.tobytes() + scenes.masks.tobytes() + scenes.shadows.tobytes()
    assert hashlib.sha256(content).hexdigest() == GOLDEN


def test_a_shorter_sequence_is_the_beginning_of_a_longer_one(sequence: Scenes) -> None:
    np.testing.assert_array_equal(render_sequence(0, 0, 3, 32).images, sequence.images[:3])
    np.testing.assert_array_equal(render_sequence(0, 0, 3, 32).masks, sequence.masks[:3])
    assert (render_sequence(1, 0, 1, 32).images != sequence.images[:1]).any()
    assert (render_sequence(0, 1, 1, 32).images != sequence.images[:1]).any()


def test_an_object_keeps_its_label_and_moves_little_in_a_frame(sequence: Scenes) -> None:
    for before, after in zip(sequence.masks, sequence.masks[1:], strict=False):
        for label in np.intersect1d(before[before > 0], after[after > 0]):
            way = [np.argwhere(mask == label).mean(0) for mask in (before, after)]
            assert np.abs(way[1] - way[0]).max() < 6  # an object that comes out from behind another shows a side first


def test_objects_cross_hide_each_other_enter_and_leave(sequence: Scenes) -> None:
    present = [set(np.unique(mask)) - {0} for mask in sequence.masks]
    assert present[0] - present[-1]
    assert present[-1] - present[0]
    frames = [[frame for frame, labels in enumerate(present) if label in labels] for label in set().union(*present)]
    assert any(len(seen) <= seen[-1] - seen[0] for seen in frames)  # hidden wholly, and seen again


def test_no_object_runs_into_another_and_no_label_is_given_twice() -> None:
    present: set[int] = set()
    ended: set[int] = set()
    for scene, labels in compose(RandomSource(NAME, VERSION, 0, 0), MAX_FRAMES):
        assert len(set(labels)) == len(labels) == len(scene.bodies)
        for number, body in enumerate(scene.bodies):
            assert clear_of(body, scene.bodies[:number], 0.0)
        ended |= present - set(labels)
        present = set(labels)
        assert not present & ended
    assert 20 < max(present | ended) <= 255


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0, 0), "1 to 1000 frames"),
        ((0, 0, 1001), "1 to 1000"),
        ((0, -1, 1), "indices"),
        ((0, 0, 1, 33), "multiple"),
    ],
)
def test_mistakes(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(AstSegError, match=message):
        render_sequence(*arguments)
