from pathlib import Path

import pytest
from PIL import Image

from astseg._core.errors import AstSegError
from astseg.data import source_names
from astseg.data.source_names import find_places, parse_list


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("in/a10.png", "in/a2.png", "in/b.jpg", "in/deep/c.png", "in/[x].png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    for name in ("in/notes.txt", "in/film.mp4"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("in/a*.png", ["in/a2.png", "in/a10.png"]),
        ("in/a?.png", ["in/a2.png"]),
        ("in/[b-c].*", ["in/b.jpg"]),
        ("in/*", ["in/[x].png", "in/a2.png", "in/a10.png", "in/b.jpg", "in/deep", "in/film.mp4"]),
        ("in/**", ["in/[x].png", "in/a2.png", "in/a10.png", "in/b.jpg", "in/deep/c.png", "in/film.mp4"]),
        ("in/[x].png", ["in/[x].png"]),
        ("in", ["in"]),
        ("in/film.mp4", ["in/film.mp4"]),
        ("nothing.png", ["nothing.png"]),
    ],
)
def test_patterns(folder: Path, pattern: str, expected: list[str]) -> None:
    assert [path.as_posix() for path in find_places(pattern)] == expected
    if pattern != "nothing.png":
        assert find_places(str(folder / pattern)) == [folder / path for path in expected]


@pytest.mark.parametrize("pattern", ["in/**/*.png", "**/*.png", "in/**", "**/deep/**/*.png", "i*/**/**/c.png", "**"])
def test_patterns_stay_out_of_linked_folders(folder: Path, pattern: str) -> None:
    before = find_places(pattern)
    (folder / "in/deep/up").symlink_to(folder / "in", target_is_directory=True)
    (folder / "in/deep/here").symlink_to(".", target_is_directory=True)
    (folder / "in/.hidden").mkdir()
    (folder / "in/.hidden/c.png").touch()
    assert find_places(pattern) == before
    assert find_places(str(folder / pattern)) == [folder / path for path in before]


def test_linked_folders_that_a_pattern_names_are_searched(folder: Path) -> None:
    (folder / "link").symlink_to("in", target_is_directory=True)
    assert find_places("link/**/c.png") == find_places("lin?/**/c.png") == [Path("link/deep/c.png")]


def test_patterns_without_a_match(folder: Path) -> None:
    with pytest.raises(AstSegError, match=r"no file or folder in/\*.bmp, and as a pattern it matches nothing"):
        find_places("in/*.bmp")
    with pytest.raises(AstSegError, match=r"only files of other kinds, such as in/notes.txt"):
        find_places("in/*.tx?")


@pytest.mark.parametrize(
    "content",
    [
        b"in/b.jpg\nin/a2.png\n",
        b"\xef\xbb\xbfin/b.jpg\r\n\r\nin/a2.png",
        b"in/b.jpg\0in/a2.png\0",
        b"in/b.jpg  \n\tin/a2.png\n",
    ],
)
def test_lists(folder: Path, content: bytes) -> None:
    (folder / "list.TXT").write_bytes(content)
    assert find_places("list.TXT") == [Path("in/b.jpg"), Path("in/a2.png")]


def test_names_that_are_no_text(folder: Path) -> None:
    odd = b"in/\xff.png"
    Path(odd.decode("utf-8", "surrogateescape")).touch()
    assert [path.name.encode("utf-8", "surrogateescape") for path in parse_list(odd, "x")] == [b"\xff.png"]


def test_lists_that_are_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "list.txt").write_text("in/b.jpg\nhttps://example.org/a.jpg\n")
    with pytest.raises(AstSegError, match=r"Line 2 of list.txt names 'https://example.org/a.jpg', which is not there"):
        find_places("list.txt")
    (folder / "list.txt").write_text("\n")
    with pytest.raises(AstSegError, match="names no files"):
        find_places("list.txt")
    with pytest.raises(AstSegError, match=r"nowhere.txt cannot be read: No such file"):
        find_places("nowhere.txt")
    (folder / "folder.txt").mkdir()
    with pytest.raises(AstSegError, match="it is a folder"):
        find_places("folder.txt")
    monkeypatch.setattr(source_names, "MAX_LIST_BYTES", 0)
    with pytest.raises(AstSegError, match="at most 0"):
        find_places("list.txt")


def test_an_empty_text_is_not_the_working_folder() -> None:
    with pytest.raises(AstSegError, match=r"the working folder is '\.'"):
        find_places("")


def test_a_missing_name_with_a_line_break_is_told_on_one_line() -> None:
    with pytest.raises(AstSegError, match=r"names 'a\\nb.jpg', which is not there") as error:
        parse_list(b"a\nb.jpg\0c.jpg\0", "x")
    assert "\n" not in str(error.value)
