import numpy as np

from astseg.inference.tails import TAIL_FRAMES, Tails
from astseg.visualization.colors import label_colors


def test_a_tail_is_as_long_as_the_latest_frames() -> None:
    tails = Tails()
    black = np.zeros((20, 100, 3), np.uint8)
    for column in range(60):
        drawn = tails.draw(black, [{"label": 2, "track": 9, "centroid": [column + 0.5, 10.5]}])
    painted = np.argwhere(drawn.any(-1))
    assert painted[:, 1].max() == 59
    assert painted[:, 1].min() == 60 - TAIL_FRAMES
    assert {tuple(color) for color in drawn[drawn.any(-1)]} == {tuple(label_colors(2)[2])}
    assert not black.any()


def test_without_tracks_nothing_is_drawn() -> None:
    tails = Tails()
    image = np.full((8, 8, 3), 7, np.uint8)
    for column in range(3):
        np.testing.assert_array_equal(tails.draw(image, [{"label": 1, "centroid": [column, 4.0]}]), image)
