from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from astseg._core.errors import AstSegError
from astseg.data.opening import open_source
from astseg.data.scenes.moving import render_sequence
from astseg.data.scenes.sequence_files import write_sequences


def test_images_and_masks_read_back_the_same(tmp_path: Path) -> None:
    done: list[int] = []
    write_sequences(tmp_path / "out", 2, 3, seed=5, image_size=32, progress=done.append)
    assert done == [3, 3]
    for index in range(2):
        scenes = render_sequence(5, index, 3, 32)
        samples = list(open_source(tmp_path / "out" / f"{index:03d}"))
        np.testing.assert_array_equal(np.stack([sample.image for sample in samples]), scenes.images)
        masks = [np.array(Image.open(tmp_path / "out" / f"{index:03d}/masks/{frame:06d}.png")) for frame in range(3)]
        np.testing.assert_array_equal(np.stack(masks), scenes.masks)


def test_mistakes_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(AstSegError, match="one sequence"):
        write_sequences(tmp_path / "out", 0)
    with pytest.raises(AstSegError, match="frames"):
        write_sequences(tmp_path / "out", 1, 0)
    assert not any(tmp_path.iterdir())
