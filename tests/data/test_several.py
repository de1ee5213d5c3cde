from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.films import plain_images, write_film

from astseg._core.errors import AstSegError
from astseg.data.file_source import FileSource
from astseg.data.masks import describe_codings
from astseg.data.several import JoinedSource, open_sources
from astseg.data.store_writer import StoreWriter
from astseg.data.video_source import VideoSource


def save(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 5), (value, 0, 0)).save(path)


def test_one_place_is_opened_as_ever(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png")
    source = open_sources([str(tmp_path / "in"), tmp_path / "in"])
    assert source.path == tmp_path / "in"
    assert source.places == ()
    assert [sample.name for sample in source] == ["a"]


def test_files_and_folders_are_read_as_one_folder(tmp_path: Path) -> None:
    for index, name in enumerate(("x/1.png", "x/2.jpg", "y/1.png", "z/1.png", "z/9.png")):
        save(tmp_path / name, 10 * index)
    np.save(tmp_path / "y.npy", np.zeros((2, 4, 4, 3), np.uint8))
    places = [tmp_path / "z" / "9.png", tmp_path / "x", tmp_path / "y", tmp_path / "y.npy"]
    source = open_sources(places)
    assert isinstance(source, FileSource)
    assert source.path == tmp_path
    assert source.places == tuple(places)
    samples = list(source)
    names = ["x/1", "x/2", "y/1", "z/9", "y.npy/000000", "y.npy/000001"]
    assert sorted(sample.name for sample in samples) == sorted(names)
    assert {sample.file_name for sample in samples} == {"x/1.png", "x/2.jpg", "y/1.png", "z/9.png", None}
    assert source.estimated_length() == 6


def test_videos_are_told_apart(tmp_path: Path) -> None:
    for folder in ("monday", "tuesday"):
        (tmp_path / folder).mkdir()
        write_film(tmp_path / folder / "film.avi", plain_images(range(0, 200, 20)))
    save(tmp_path / "monday" / "film.png")
    places = [tmp_path / "monday/film.avi", tmp_path / "tuesday/film.avi", tmp_path / "monday/film.png"]
    source = open_sources(places, every=4)
    assert isinstance(source, JoinedSource)
    samples = list(source)
    frames = ("000000", "000004", "000008")
    monday = [f"monday/film.avi/{frame}" for frame in frames]
    tuesday = [f"tuesday/film/{frame}" for frame in frames]
    assert [sample.name for sample in samples] == ["monday/film", *monday, *tuesday]
    assert [sample.time for sample in samples][-3:] == [0, 0.16, 0.32]
    assert source.estimated_length() == len(samples)
    assert source.fps is None
    assert not source.has_masks
    assert source.ignored_label is None
    assert source.notes == ()


def test_a_video_beside_a_folder_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "x/clip").mkdir(parents=True)
    save(tmp_path / "x/clip/000000.png")
    write_film(tmp_path / "x/clip.mp4", plain_images(range(0, 40, 20)))
    names = [sample.name for sample in open_sources([tmp_path / "x", tmp_path / "x/clip.mp4"])]
    assert names == ["x/clip/000000", "x/clip.mp4/000000", "x/clip.mp4/000001"]


def test_what_is_damaged_is_named_with_its_source(tmp_path: Path) -> None:
    write_film(tmp_path / "film.avi", plain_images([0, 9]))
    save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "in" / "notes.txt").touch()
    source = open_sources([tmp_path / "film.avi", tmp_path / "in"])
    for _ in range(2):
        assert len(list(source)) == 3
        assert [name for name, _ in source.skipped] == ["in/b"]
    assert source.left_out == ("files of other kinds: 1 (.txt)",)


def test_masks_beside_images_are_no_images(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in "abc":
        save(tmp_path / f"{name}.png")
        Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / f"{name}.jpg")
        Image.fromarray(np.eye(8, dtype=np.uint8)).save(tmp_path / f"{name}_mask.png")
        (tmp_path / f"{name}.png").unlink()
    source = open_sources(sorted(tmp_path.iterdir()))
    assert [sample.name for sample in source] == ["a", "b", "c"]
    assert source.has_masks


def test_each_folder_has_masks_of_its_own_kind(tmp_path: Path) -> None:
    for folder, labels in (("numbers", (0, 2, 255)), ("white", (0, 0, 255))):
        (tmp_path / folder / "images").mkdir(parents=True)
        image = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / folder / "images" / "1.png")
        mask = np.array(labels, np.uint8).repeat(8)[None].repeat(24, axis=0)
        (tmp_path / folder / "masks").mkdir()
        Image.fromarray(mask).save(tmp_path / folder / "masks" / "1.png")
    source = open_sources([tmp_path / "numbers", tmp_path / "white"])
    assert isinstance(source, FileSource)
    assert source.ignored_label == 255
    for whole_or_part in (source, source.part(source.files[::-1])):
        masks = {sample.name: sample.mask for sample in whole_or_part if sample.mask is not None}
        rows = {name.split("/")[0]: mask[0, ::8].tolist() for name, mask in masks.items()}
        assert rows == {"numbers": [0, 2, 255], "white": [0, 0, 1]}
    assert describe_codings(source.codings) == (
        "their values are the labels; not scored: 255; white is an object, black is not"
    )


def test_an_object_stays_one_beside_masks_that_ignore_its_number(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    for folder, labels in (("void", (0, 2, 255)), ("numbers", (254, 200, 255))):
        mask = np.array(labels, np.uint8).repeat(8)[None].repeat(24, axis=0)
        for kind, content in (("images", image), ("masks", mask)):
            (tmp_path / folder / kind).mkdir(parents=True)
            Image.fromarray(content).save(tmp_path / folder / kind / "1.png")
    with StoreWriter(tmp_path / "store", (24, 24), "numbers", "none") as writer, writer.split("test") as split:
        split.append(image[None], np.full((1, 24, 24), 255, np.uint8))
    folders = [tmp_path / "void", tmp_path / "numbers"]
    source = open_sources(folders)
    assert isinstance(source, FileSource)
    expected = {"void/images/1": [0, 2, 255], "numbers/images/1": [254, 200, 253], "store/000000": [254, 254, 254]}
    for several in (
        source,
        source.part(source.files),
        source.part(source.files[:1]),
        open_sources([*folders, tmp_path / "store"]),
    ):
        assert several.ignored_label == 255
        for sample in several:
            assert sample.mask is not None
            assert sample.mask[0, ::8].tolist() == expected[sample.name]
    alone = next(iter(open_sources(folders[1:])))
    assert alone.mask is not None
    assert alone.mask[0, ::8].tolist() == [254, 200, 255]


def test_what_lies_in_a_named_folder_is_read_once(tmp_path: Path) -> None:
    save(tmp_path / "in/more/a.png")
    write_film(tmp_path / "in/film.avi", plain_images([0]))
    for places in ([tmp_path / "in", tmp_path / "in/more", tmp_path / "in/more/a.png"], [*tmp_path.rglob("*")]):
        source = open_sources(places)
        assert sum(sample.name.endswith("a") for sample in source) == 1
    assert {sample.name for sample in source} == {"in/more/a", "in/film/000000"}


def test_what_a_named_folder_passes_over_is_read_where_it_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    save(folder / "a.png")
    save(folder / ".hidden/b.png")
    save(folder / ".c.png")
    save(tmp_path / "elsewhere/d.png")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    places = [folder, folder / ".hidden/b.png", folder / ".c.png", folder / "link"]
    assert {sample.file_name for sample in open_sources([folder])} == {"a.png"}
    found = {Path(sample.file_name or "").name for sample in open_sources(places)}
    assert found == {"a.png", "b.png", ".c.png", "d.png"}


def test_sources_on_two_drives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def commonpath(paths: list[Path]) -> str:
        raise ValueError("Paths don't have the same drive")

    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    monkeypatch.setattr("os.path.commonpath", commonpath)
    with pytest.raises(AstSegError, match="on several drives"):
        open_sources([tmp_path / "a.png", tmp_path / "b.png"])


def test_paths_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "x/a.png")
    save(tmp_path / "y/b.png")
    (tmp_path / "y/z").mkdir()
    monkeypatch.chdir(tmp_path / "y/z")
    for places in (["../b.png", "../../x"], ["..", "../../x/a.png"]):
        assert {sample.name for sample in open_sources(list(map(Path, places)))} == {"x/a", "y/b"}


def test_prepared_data(tmp_path: Path) -> None:
    for name in "ab":
        with StoreWriter(tmp_path / name, (8, 8), "s", "p") as writer, writer.split("test") as split:
            split.append(np.zeros((2, 8, 8, 3), np.uint8))
    source = open_sources([tmp_path / "a", tmp_path / "b"])
    assert [sample.name for sample in source] == ["a/000000", "a/000001", "b/000000", "b/000001"]
    with pytest.raises(AstSegError, match="prepared data has its own"):
        open_sources([tmp_path / "a"], ignored=frozenset({7}))


def test_a_video_has_no_masks_whose_values_could_be_left_out(tmp_path: Path) -> None:
    write_film(tmp_path / "film.avi", plain_images([0]))
    with pytest.raises(AstSegError, match="a video has none"):
        open_sources([tmp_path / "film.avi"], ignored=frozenset({7}))


def test_mistakes(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    both = [tmp_path / "a.png", tmp_path / "b.png"]
    with pytest.raises(AstSegError, match="No source"):
        open_sources([])
    with pytest.raises(AstSegError, match="no file or folder"):
        open_sources([*both, tmp_path / "c.png"])
    with pytest.raises(AstSegError, match="Masks can be named for one source, and here are 2"):
        open_sources(both, masks=tmp_path)
    with pytest.raises(AstSegError, match="Only of videos can frames be left out"):
        open_sources(both, every=2)
    with pytest.raises(AstSegError, match="Only of videos can frames be left out"):
        open_sources(both, max_frames=2)
    for path in both:
        path.write_bytes(b"")
    with pytest.raises(AstSegError, match=r"Nothing in .* can be read"):
        list(open_sources(both))


@pytest.mark.parametrize(
    ("most", "every", "count"), [(100, 1, 10), (10, 1, 10), (9, 1, 5), (4, 1, 4), (1, 1, 1), (9, 4, 3)]
)
def test_no_more_frames_than_asked_for(tmp_path: Path, most: int, every: int, count: int) -> None:
    write_film(tmp_path / "film.avi", plain_images(range(10)))
    source = open_sources([tmp_path / "film.avi"], every=every, max_frames=most)
    assert isinstance(source, VideoSource)
    assert len(list(source)) == source.estimated_length() == count <= most
    with pytest.raises(AstSegError, match="largest number of frames"):
        VideoSource(tmp_path / "film.avi", max_frames=0)


def test_prepared_data_without_a_test_split_beside_others(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store", (8, 8), "s", "p") as writer, writer.split("train") as split:
        split.append(np.full((2, 8, 8, 3), 7, np.uint8))
    save(tmp_path / "a.png")
    with pytest.raises(AstSegError, match="no split 'test'"):
        open_sources([tmp_path / "store", tmp_path / "a.png"])
    assert len(list(open_sources([tmp_path / "store", tmp_path / "a.png"], None))) == 3


def test_names_are_known_before_anything_is_read(tmp_path: Path) -> None:
    save(tmp_path / "in/a.png")
    save(tmp_path / "in/more/a.jpg")
    np.save(tmp_path / "in/b.npy", np.zeros((2, 4, 4, 3), np.uint8))
    frames = [Image.new("RGB", (4, 4), (40 * index, 0, 0)) for index in range(3)]
    frames[0].save(tmp_path / "in/c.gif", save_all=True, append_images=frames[1:])
    write_film(tmp_path / "film.avi", plain_images(range(0, 200, 20)))
    with StoreWriter(tmp_path / "store", (4, 4), "", "") as writer, writer.split("test") as split:
        split.append(np.zeros((3, 4, 4, 3), np.uint8))
    sources = ["in", "in/a.png", "in/b.npy", "in/c.gif", "film.avi", "store"]
    for places in ([[name] for name in sources], [["in", "film.avi", "store"]]):
        for place in places:
            source = open_sources([tmp_path / name for name in place], every=1)
            known = list(source.names())
            assert known == [(sample.name, sample.file_name) for sample in source]
            assert len(known) == source.estimated_length()
    thinned = open_sources([tmp_path / "film.avi"], every=4)
    assert [name for name, _ in thinned.names()] == ["000000", "000004", "000008"]
