"""MOTS, read back by the description of the format alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.inference.formats.conftest import ReadingModel, make_results
from tests.inference.formats.decoders import decode_coco_counts, decode_grey_png

from astseg._core.errors import TracksNeededError
from astseg._core.image_files import Bytes
from astseg.data.opening import open_source
from astseg.inference.formats.converting import FormatRequest, convert_results
from astseg.inference.formats.mots import MAX_CLASSES
from astseg.inference.segmenting import segment_source

FRAMES = 7


def draw_film() -> dict[str, Bytes]:
    """Two things that move, of which one goes from slot 3 to slot 6, a third in the middle, and a frame of nothing."""
    film = {}
    for frame in range(FRAMES):
        labels = np.zeros((30, 64), np.uint8)
        if frame != 3:
            labels[3:12, 4 + 2 * frame : 14 + 2 * frame] = 3 if frame < 5 else 6
            labels[18:28, 50 - 2 * frame : 58 - 2 * frame] = 9
        if frame == 4:
            labels[14:16, :3] = 1
        film[f"{10 * frame}.png"] = labels
    return film


def write_film(folder: Path, categories: Any) -> tuple[list[np.ndarray[Any, Any]], list[list[str]], str]:
    """Return the decoded images, the lines' words, and labels.txt."""
    make_results(folder, draw_film())
    source = open_source(folder / "pictures")
    segment_source(ReadingModel(), source, folder / "tracks", track=True)
    (written,) = convert_results(folder / "tracks", FormatRequest(("mots",), categories))
    assert written.path == folder / "tracks/mots/instances.txt"
    files = sorted((folder / "tracks/mots/instances").glob("*.png"))
    assert [file.name for file in files] == [f"{frame:06d}.png" for frame in range(FRAMES)]
    lines = [line.split(" ") for line in written.path.read_text().splitlines()]
    return (
        [decode_grey_png(file.read_bytes()) for file in files],
        lines,
        (folder / "tracks/mots/instances/labels.txt").read_text(),
    )


def test_images_and_lines_hold_the_tracks(tmp_path: Path) -> None:
    images, lines, labels = write_film(tmp_path, {})
    assert labels == "object\n"
    film = list(draw_film().values())
    numbers = set()
    for frame, (image, drawn) in enumerate(zip(images, film, strict=True)):
        np.testing.assert_array_equal(image > 0, drawn > 0)
        assert len(set(image[(drawn == 3) | (drawn == 6)])) <= 1
        of_frame = [words for words in lines if words[0] == str(frame)]
        assert sorted(int(words[1]) for words in of_frame) == sorted(set(np.unique(image).tolist()) - {0})
        for _, number, kind, height, width, counts in of_frame:
            assert (int(kind), int(height), int(width)) == (int(number) // 1000, *drawn.shape)
            np.testing.assert_array_equal(decode_coco_counts(counts, *drawn.shape), image == int(number))
            numbers.add(int(number))
    assert numbers == {1001, 1002, 1003}
    first, second = images[0][5, 8], images[0][20, 52]
    assert [image[5, 8 + 2 * frame] for frame, image in enumerate(images) if frame != 3] == [first] * 6
    assert [image[20, 52 - 2 * frame] for frame, image in enumerate(images) if frame != 3] == [second] * 6
    assert [int(words[0]) for words in lines] == sorted(int(words[0]) for words in lines)


def test_a_track_keeps_the_class_in_which_it_was_first_seen(tmp_path: Path) -> None:
    names = {slot: f"kind {slot}" for slot in range(1, 13)}
    images, _, labels = write_film(tmp_path, names)
    # The twelve names in their order, number 10 for what is not scored, and what the other slots find.
    assert labels.splitlines() == [
        *(f"kind {slot}" for slot in range(1, 10)),
        "ignored",
        *("kind 10", "kind 11", "kind 12", "object"),
    ]
    assert {number for image in images for number in np.unique(image).tolist()} == {0, 1001, 3001, 9001}


def test_what_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TracksNeededError, match="with tracks"):
        convert_results(make_results(tmp_path, draw_film()), FormatRequest(("mots",)))
    request = FormatRequest(("mots",), {slot: f"kind {slot}" for slot in range(1, MAX_CLASSES + 1)})
    with pytest.raises(Exception, match=f"up to {MAX_CLASSES} kinds of objects, not {MAX_CLASSES + 1}"):
        convert_results(tmp_path / "results", request)
    with pytest.raises(TracksNeededError, match="followed from frame to frame"):
        request.check_tracks(False)
    request.check_tracks(True)
    monkeypatch.setattr("astseg.inference.formats.mots.CLASS_STEP", 2)
    with pytest.raises(Exception, match=r"up to 1 tracks of a kind; there are more of 'object'"):
        write_film(tmp_path / "film", {})
