from pathlib import Path

import numpy as np
import pytest
from tests.data.benchmarks import formats

from astseg._core.errors import AstSegError
from astseg.data.benchmarks.archives import open_sources
from astseg.data.benchmarks.shapestacks import decode, file_index, read_lists, scenario_numbers
from astseg.data.benchmarks.staging import IMAGE, MASK

SCENARIOS = {"env_a": 0, "env_b": 1}
LISTS = {
    "splits/default/train.txt": b"env_b\nenv_c\n",
    "splits/default/eval.txt": b"env_a",
    "splits/default/test.txt": b"env_d\n\n",
    "splits/other/train.txt": b"env_z\n",
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("recordings/env_a/rgb-w=5-f=2-l=1-c=unique-cam_7-mono-0.png", (6, IMAGE)),
        ("./shapestacks/recordings/env_b/rgb-w=0-f=0-l=0-c=original-cam_16-mono-0.png", (31, IMAGE)),
        ("iseg/env_b/iseg-w=0-f=0-l=0-c=original-cam_1-mono-0.map", (16, MASK)),
        ("vseg/env_b/vseg-w=0-f=0-l=0-c=original-cam_1-mono-0.map", None),
        ("recordings/env_x/rgb-w=5-f=2-l=1-c=unique-cam_7-mono-0.png", None),
        ("recordings/env_a/rgb-w=5-f=2-l=1-c=unique-cam_17-mono-0.png", None),
        ("recordings/env_a/rgb-w=5-f=2-l=1-c=unique-cam_7-mono-1.png", None),
    ],
)
def test_file_index(name: str, expected: tuple[int, int] | None) -> None:
    assert file_index(name, SCENARIOS) == expected


def test_labels_are_the_first_channel_divided_by_32() -> None:
    files = formats.stack_files("env_a", 3, label=6, loose=True)
    image, mask = (decode(data, kind, 196) for data, kind in zip(files.values(), (IMAGE, MASK), strict=True))
    expected = np.zeros((224, 224), np.uint8)
    expected[100:156, 80:136], expected[30:60, 30:60] = 6, 7
    np.testing.assert_array_equal(mask, expected[14:210, 14:210])
    np.testing.assert_array_equal(image[..., 0], mask * 30)
    assert decode(files.popitem()[1], MASK, 64).shape == (64, 64)


def test_a_gray_map_is_accepted() -> None:
    values = np.full((224, 224), 64 + 31, np.uint8)
    assert (decode(formats.png(values, 0), MASK, 64) == 2).all()


def test_lists_from_a_folder_and_from_an_archive(tmp_path: Path) -> None:
    formats.unpack(tmp_path / "folder", LISTS)
    (tmp_path / "meta.tar").write_bytes(formats.tar({f"./{name}": data for name, data in LISTS.items()}))
    expected = {"train": ["env_b", "env_c"], "validation": ["env_a"], "test": ["env_d"]}
    for name in ("folder", "meta.tar"):
        lists = read_lists(open_sources([tmp_path / name]), "default")
        assert lists == expected
        assert list(lists) == list(expected)
    assert scenario_numbers(expected) == {"env_b": 0, "env_c": 1, "env_a": 2, "env_d": 3}


def test_missing_lists(tmp_path: Path) -> None:
    formats.unpack(tmp_path, LISTS)
    with pytest.raises(AstSegError, match="splits/other/eval"):
        read_lists(open_sources([tmp_path]), "other")


@pytest.mark.parametrize("content", [b"\xff\xfe\xfd", b"a a", b"x" * 300, b"a\x1b[31m"])
def test_a_list_that_is_none(tmp_path: Path, content: bytes) -> None:
    formats.unpack(tmp_path, {**LISTS, "splits/default/train.txt": content})
    with pytest.raises(AstSegError, match=r"train\.txt is not a list of scenarios"):
        read_lists(open_sources([tmp_path]), "default")
