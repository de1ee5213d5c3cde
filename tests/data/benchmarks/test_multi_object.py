from pathlib import Path

import numpy as np
import pytest
from tests.data.benchmarks import formats

from astseg._core.errors import AstSegError
from astseg.data.benchmarks.multi_object import CLEVR, OBJECTS_ROOM, read_records


def test_clevr_is_cropped_and_labeled(tmp_path: Path) -> None:
    image, masks = formats.clevr_scene(9)
    path = formats.write_records(tmp_path / "clevr.tfrecords", [formats.scene_message(image, masks)])
    (sample,) = read_records(path, CLEVR, 192)
    np.testing.assert_array_equal(sample.image, image[24:216, 64:256])
    np.testing.assert_array_equal(sample.labels, masks.argmax(0)[24:216, 64:256])
    assert set(np.unique(sample.labels)) == {0, 1, 2, 5}
    (sample,) = read_records(path, CLEVR, 128)
    assert sample.image.shape == (128, 128, 3)
    # Object 1 begins at row 54 and column 90: at row 20 and column 17 of the prepared image.
    assert (sample.labels[21:35, 18:30] == 1).all()
    assert sample.labels[19, 30] == 0


@pytest.mark.parametrize("entities", [4, 7, 10])
def test_rooms_of_every_number_of_entities(tmp_path: Path, entities: int) -> None:
    scenes = [formats.room(index, entities) for index in range(5)]
    path = formats.write_records(tmp_path / "a", [formats.scene_message(*scene) for scene in scenes])
    samples = list(read_records(path, OBJECTS_ROOM, 64, start=2))
    assert len(samples) == 3
    for sample, (image, masks) in zip(samples, scenes[2:], strict=True):
        np.testing.assert_array_equal(sample.image, image)
        np.testing.assert_array_equal(sample.labels, np.maximum(0, masks.argmax(0) - 3))


def test_records_of_another_set_are_refused(tmp_path: Path) -> None:
    path = formats.write_records(tmp_path / "a", [formats.scene_message(*formats.room(0))])
    with pytest.raises(AstSegError, match="record 0 is invalid"):
        list(read_records(path, CLEVR, 128))


def test_records_that_are_no_examples_are_refused(tmp_path: Path) -> None:
    path = formats.write_records(tmp_path / "a", [formats.scene_message(*formats.room(0)), b"\xff\xff"])
    samples = read_records(path, OBJECTS_ROOM, 64)
    next(samples)
    with pytest.raises(AstSegError, match="record 1 is invalid"):
        next(samples)
