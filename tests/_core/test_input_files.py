import os
from pathlib import Path

import pytest

from astseg._core import input_files
from astseg._core.input_files import NotAFileError, parse_json, read_json, real_path, regular_size


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("[1]")
    (tmp_path / "link").symlink_to("file")
    assert regular_size(tmp_path / "file") == regular_size(tmp_path / "link") == 3
    assert read_json(tmp_path / "link") == [1]
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "pipe-link").symlink_to("pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "pipe-link", "zero"):
        with pytest.raises(NotAFileError, match="a pipe, a device"):
            read_json(tmp_path / name)
    with pytest.raises(NotAFileError, match="a folder"):
        read_json(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none")


def test_a_path_without_links(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("gone")
    (tmp_path / "loop").symlink_to("loop")
    assert real_path(tmp_path / "link") == tmp_path.resolve() / "gone"
    assert real_path(tmp_path / "loop").name == "loop"


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, '{"a":' * 200_000, "[" * 65 + "]" * 65, '{"a":' * 70 + "1" + "}" * 70, "", "\x00", "9" * 5000],
)
def test_json_that_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"Expecting|nested|digits"):
        parse_json(text)


def test_json_of_usual_depth() -> None:
    assert parse_json("[" * 60 + "]" * 60)
    assert parse_json(b'{"a": {"b": [1, {"c": null}]}}') == {"a": {"b": [1, {"c": None}]}}
    with pytest.raises(ValueError, match="decode"):
        parse_json(b"[\x80]")


def test_a_large_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_files, "MAX_JSON_BYTES", 2)
    (tmp_path / "a").write_text("[1]")
    with pytest.raises(ValueError, match="3 bytes"):
        read_json(tmp_path / "a")
