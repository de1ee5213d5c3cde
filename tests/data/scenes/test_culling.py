import pytest
import torch
from tests.data.scenes.scene_builders import ball, make_scene

from astseg.data.scenes.culling import MAX_PAIRS_PER_BATCH, by_rank, by_shape, find_pairs, visible_tiles
from astseg.data.scenes.packing import pack


def test_pairs_name_bodies_of_all_scenes_and_count_within_bundles() -> None:
    bodies = pack([make_scene(ball(), ball()), make_scene(ball(), ball())]).bodies
    together = torch.tensor([[True, True], [False, True], [False, False], [True, True]])
    pairs = find_pairs(bodies, torch.tensor([0, 0, 1, 1]), together)
    assert pairs.bundle.tolist() == [0, 0, 1, 3, 3]
    assert pairs.body.tolist() == [0, 1, 1, 2, 3]
    assert pairs.rank.tolist() == [0, 1, 0, 0, 1]
    assert [some.tolist() for some in by_rank(pairs)] == [[0, 2, 3], [1, 4]]


def test_by_shape_splits_long_lists() -> None:
    bodies = pack([make_scene(ball())]).bodies
    count = MAX_PAIRS_PER_BATCH + 5
    pairs = find_pairs(bodies, torch.zeros(count, dtype=torch.long), torch.ones(count, 1, dtype=torch.bool))
    assert [len(some) for _, some in by_shape(pairs)] == [MAX_PAIRS_PER_BATCH, 5]
    assert list(by_rank(find_pairs(bodies, torch.zeros(1).long(), torch.zeros(1, 1).bool()))) == []


@pytest.mark.parametrize("x", [-3.0, 0.0, 2.0])
def test_tiles_seen_are_few_and_around_the_body(x: float) -> None:
    body = ball((x, 0.0, 0.5), 0.5)
    scene = make_scene(body)
    seen = visible_tiles(pack([scene]), 64)[0, :, 0].view(8, 8)
    across, up, _ = scene.camera.project(body.center)
    column, row = int((across + 1) * 4), int((1 - up) * 4)
    assert seen[row, column]
    assert seen.sum() <= 9


def test_a_body_around_the_camera_is_tried_everywhere() -> None:
    scene = make_scene(ball((0.0, -8.0, 5.0), 1.0))
    assert visible_tiles(pack([scene]), 64).all()
