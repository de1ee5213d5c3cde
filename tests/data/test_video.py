from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import numpy.typing as npt
import pytest
from tests.data.films import cut_off, damage, write_film, write_packed_film, write_tracks

from astseg._core.errors import AstSegError
from astseg._core.image_files import Bytes
from astseg.data import video, video_writer
from astseg.data.video import read_facts, read_frames
from astseg.data.video_writer import VideoWriter, encodable_rate, has_encoder


def frame(index: int, height: int = 32, width: int = 48) -> Bytes:
    """Return an image of a grey that rises by 10 per frame, up to 190 and again, with a red square at the top left."""
    image = np.full((height, width, 3), 10 * index % 200, np.uint8)
    image[:12, :12] = (250, 0, 0)
    return image


def drawn_frames(count: int) -> list[Bytes]:
    return [frame(index) for index in range(count)]


def write(path: Path, count: int, fps: Fraction = Fraction(25), **size: int) -> None:
    with VideoWriter(path, fps) as writer:
        for index in range(count):
            writer.append(frame(index, **size))


TENTHS = [index / 10 for index in range(10)]
UNEVEN = [index / 5 for index in range(10)] + [2 + index / 60 for index in range(20)]
"""In seconds, as from a phone or a screen recorder: a mean of 12.9 frames per second over 2.33 seconds."""


def write_at(
    path: Path,
    times: Sequence[float | Fraction],
    codec: str = "libx264",
    rate: Fraction | int = 60,
    offset: float = 0.0,
    form: str | None = None,
    base: Fraction = Fraction(1, 1000),
    last: float | None = None,
) -> None:
    """Write frames at their times plus an offset; the last frame gets a duration if that is given."""
    packets: list[Any] = []
    with av.open(str(path), "w", format=form) as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stream.codec_context.time_base = base
        for index, time in enumerate(times):
            image = av.VideoFrame.from_ndarray(frame(index), format="rgb24")
            image.pts, image.time_base = round((time + offset) / base), base
            packets += stream.encode(image)
        packets += stream.encode()
        if last is not None:
            packets[-1].duration = round(last / base)
        container.mux(packets)


def is_red(image: Bytes) -> npt.NDArray[np.bool_]:
    return (image[..., 0] > 200) & (image[..., 1] < 60)


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30000, 1001), Fraction(25, 3)])
def test_writes_what_it_reads(tmp_path: Path, fps: Fraction) -> None:
    write(tmp_path / "a.mp4", 7, fps)
    facts = read_facts(tmp_path / "a.mp4")
    assert facts.frames == 7
    assert facts.fps == fps
    frames = list(read_frames(tmp_path / "a.mp4"))
    assert [frame.number for frame in frames] == list(range(7))
    assert [frame.time for frame in frames] == pytest.approx([float(index / fps) for index in range(7)], abs=1e-9)
    for index, _, image in frames:
        assert image.shape == (32, 48, 3)
        assert np.abs(image[20, 30].astype(int) - 10 * index).max() < 8
        assert is_red(image)[2:10, 2:10].all()


def test_takes_each_nth_frame(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", 7)
    assert [frame.number for frame in read_frames(tmp_path / "a.mp4", every=3)] == [0, 3, 6]


def test_odd_sides_are_padded_and_later_frames_are_resized(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", Fraction(10)) as writer:
        writer.append(frame(5, 31, 47))
        writer.append(frame(5, 64, 96))
    shapes = [frame.image.shape for frame in read_frames(tmp_path / "a.mp4")]
    assert shapes == [(32, 48, 3)] * 2


def test_writes_h264_in_yuv420p_or_falls_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.mp4", 3)
    codec = "h264" if has_encoder("libx264") else "mpeg4"
    monkeypatch.setattr(video_writer, "has_encoder", lambda _: False)
    write(tmp_path / "b.mp4", 3)
    for name, expected in (("a", codec), ("b", "mpeg4")):
        with av.open(str(tmp_path / f"{name}.mp4")) as container:
            context = container.streams.video[0].codec_context
            assert (context.name, context.pix_fmt) == (expected, "yuv420p")


@pytest.mark.parametrize("encoder", ["libx264", "mpeg4"])
def test_keeps_the_quality_of_busy_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: str) -> None:
    monkeypatch.setattr(video_writer, "has_encoder", lambda name: name == encoder)
    blocks = np.random.default_rng(0).integers(0, 256, (5, 8, 12, 1), dtype=np.uint8)
    images = blocks.repeat(8, 1).repeat(8, 2).repeat(3, 3)
    with VideoWriter(tmp_path / "a.mp4", Fraction(25)) as writer:
        for image in images:
            writer.append(image)
    read = np.array([frame.image for frame in read_frames(tmp_path / "a.mp4")], int)
    assert np.abs(read - images).mean() < 4


def test_the_same_frames_are_the_same_file(tmp_path: Path) -> None:
    ground = np.kron(np.random.default_rng(0).integers(60, 200, (6, 4, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    frames = [ground.copy() for _ in range(9)]
    for index, frame in enumerate(frames):
        frame[12:24, 3 * index % 16 : 3 * index % 16 + 12] = 220, 40, 40
    written = set()
    for number in range(60):
        with VideoWriter(tmp_path / f"{number}.mp4", Fraction(25)) as writer:
            for frame in frames:
                writer.append(frame)
        written.add((tmp_path / f"{number}.mp4").read_bytes())
    assert len(written) == 1


def test_knows_which_encoders_there_are() -> None:
    assert has_encoder("mpeg4")
    assert not has_encoder("no such thing")


def test_turns_a_phones_video_upright(tmp_path: Path) -> None:
    write_film(tmp_path / "a.mp4", drawn_frames(2), turned=-90)  # a quarter clockwise
    image = next(read_frames(tmp_path / "a.mp4")).image
    assert image.shape == (48, 32, 3)
    assert is_red(image)[2:10, -10:-2].all()  # the square moved from left to right


@pytest.mark.parametrize("columns", [(1, 0), (-1, 0), (0, 1), (0, -1)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_shows_a_film_as_its_display_matrix_says(tmp_path: Path, columns: tuple[int, int], mirrored: bool) -> None:
    drawn = np.full((32, 48, 3), 20, np.uint8)
    drawn[:16, :24], drawn[:16, 24:], drawn[16:, :24] = 250, 170, 90  # no two quarters are alike
    a, b = columns
    c, d = (b, -a) if mirrored else (-b, a)
    ones = [a, b, 0, c, d, 0, 0, 0, 1 << 14]
    write_film(tmp_path / "a.mp4", [drawn] * 2, matrix=[value << 16 for value in ones])
    shown = next(read_frames(tmp_path / "a.mp4")).image[..., 0].astype(int)
    expected = np.zeros((32, 48) if b == 0 else (48, 32), int)
    for y, x in np.ndindex(32, 48):  # shown at (a x + c y, b x + d y), moved to begin at 0
        left, top = a * x + c * y, b * x + d * y
        expected[top % expected.shape[0], left % expected.shape[1]] = drawn[y, x, 0]
    expected = np.roll(expected, (-1 if min(b, d) < 0 else 0, -1 if min(a, c) < 0 else 0), (0, 1))
    assert shown.shape == expected.shape
    assert np.median(np.abs(shown - expected)) <= 3
    assert np.mean(np.abs(shown - expected)) < 5


@pytest.mark.parametrize("degrees", [-90, 90, 180, -80.0, 45.5])
def test_turns_a_film_by_the_nearest_quarters(tmp_path: Path, degrees: float) -> None:
    write_film(tmp_path / "plain.mp4", drawn_frames(2))
    write_film(tmp_path / "a.mp4", drawn_frames(2), turned=degrees)
    plain, turned = (next(read_frames(tmp_path / name)).image for name in ("plain.mp4", "a.mp4"))
    np.testing.assert_array_equal(turned, np.rot90(plain, round(degrees / 90)))


def test_reports_damage_and_continues(tmp_path: Path) -> None:
    write(tmp_path / "a.avi", 40)
    damage(tmp_path / "a.avi")
    reasons: list[str] = []
    frames = list(read_frames(tmp_path / "a.avi", on_damage=lambda _, reason: reasons.append(reason)))
    assert 0 < len(frames) < 40
    assert reasons
    assert all("cannot be decoded" in reason for reason in reasons)


def test_reads_a_video_up_to_where_it_is_cut_off(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 32, 48, 3), dtype=np.uint8)
    with VideoWriter(tmp_path / "a.avi", Fraction(25)) as writer:
        for image in noise:
            writer.append(image)
    content = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "a.avi").write_bytes(content[: len(content) // 2])
    frames = list(read_frames(tmp_path / "a.avi"))
    assert 0 < len(frames) < 40
    assert abs(read_facts(tmp_path / "a.avi").frames - len(frames)) <= 2


def test_refuses_other_files(tmp_path: Path) -> None:
    with pytest.raises(AstSegError, match="no video file"):
        read_facts(tmp_path / "absent.mp4")
    (tmp_path / "a.mp4").write_text("nothing of the kind")
    with pytest.raises(AstSegError, match=r"a\.mp4 cannot be read"):
        next(read_frames(tmp_path / "a.mp4"))


def test_refuses_audio(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    with pytest.raises(AstSegError, match="holds no video, only audio"):
        read_facts(tmp_path / "a.mp4")


def test_closes_an_unfinished_video(tmp_path: Path) -> None:
    def stop_in_the_middle() -> None:
        with VideoWriter(tmp_path / "a.mp4", Fraction(25)) as writer:
            writer.append(frame(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop_in_the_middle()
    with VideoWriter(tmp_path / "empty.mp4", Fraction(25)):
        pass


def test_frames_before_an_error_of_the_container_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = video._packets

    class Breaking(NamedTuple):
        container: Any

        def demux(self, stream: Any) -> Iterator[Any]:
            yield from islice(self.container.demux(stream), 3)
            raise av.error.InvalidDataError(1, "the index is gone")

    monkeypatch.setattr(video, "_packets", lambda container, *rest: whole(Breaking(container), *rest))
    monkeypatch.setattr(video_writer, "has_encoder", lambda _: False)
    write(tmp_path / "a.mp4", 7)
    reasons: list[str] = []
    frames = list(read_frames(tmp_path / "a.mp4", on_damage=lambda _, reason: reasons.append(reason)))
    assert [frame.number for frame in frames] == [0, 1, 2]
    assert reasons == ["cannot be decoded: the index is gone"]
    assert read_facts(tmp_path / "a.mp4").frames == 3


class TestTime:
    @pytest.mark.parametrize(
        ("name", "codec", "form"),
        [
            ("a.mp4", "libx264", None),  # not decoded in the order in which frames are shown
            ("a.mp4", "mpeg4", None),
            ("a.mkv", "libx264", None),
            ("a.webm", "libvpx-vp9", None),
            ("a.flv", "libx264", None),
            ("a.ts", "libx264", "mpegts"),
            ("a.ts", "mpeg2video", "mpegts"),
            ("a.wmv", "wmv2", "asf"),
        ],
    )
    @pytest.mark.parametrize("offset", [0.0, 3.0])
    def test_each_frame_has_the_time_of_its_stamp(
        self, tmp_path: Path, name: str, codec: str, form: str | None, offset: float
    ) -> None:
        rate = 25 if codec == "mpeg2video" else 60  # it only supports even times
        times = [index / rate for index in range(30)] if rate == 25 else UNEVEN
        base = Fraction(1, 25) if rate == 25 else Fraction(1, 1000)
        write_at(tmp_path / name, times, codec, rate, offset, form, base)
        assert [found.time for found in read_frames(tmp_path / name)] == pytest.approx(times, abs=1.1e-3)
        facts = read_facts(tmp_path / name)
        # The last frame is shown for 1/60 s or, if the file has no duration, as long as the mean.
        tells = name in ("a.mp4", "a.mkv", "a.webm")
        assert facts.duration == pytest.approx(times[-1] + 1 / rate, abs=2e-3 if tells else 0.07)
        assert float(facts.fps) == pytest.approx(len(times) / facts.duration, rel=1e-3)
        assert facts.frames == len(times)

    def test_frames_that_share_packets(self, tmp_path: Path) -> None:
        """The stamps of decoded frames go back in such a file."""
        write_packed_film(tmp_path / "a.avi", [frame(index) for index in range(31)], rate=20)
        times = [found.time for found in read_frames(tmp_path / "a.avi")]
        assert times == pytest.approx([index / 20 for index in range(len(times))], abs=1e-3)
        assert len(times) in (30, 31)
        with av.open(str(tmp_path / "a.avi")) as container:
            stamps = [found.pts or 0 for found in container.decode(video=0)]
        assert sorted(stamps) != stamps

    def test_a_declared_rate_that_is_wrong(self, tmp_path: Path) -> None:
        """This MKV declares 60 frames per second and has 12.9."""
        write_at(tmp_path / "a.mkv", UNEVEN)
        assert float(read_facts(tmp_path / "a.mkv").fps) == pytest.approx(12.9, abs=0.05)

    @pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25), Fraction(60)])
    @pytest.mark.parametrize("count", [1, 2, 9, 100])
    def test_rounded_stamps_do_not_change_an_even_rate(self, tmp_path: Path, rate: Fraction, count: int) -> None:
        write_at(tmp_path / "a.mkv", [index / rate for index in range(count)], "mpeg4", rate, base=1 / rate)
        assert read_facts(tmp_path / "a.mkv").fps == rate

    @pytest.mark.parametrize(("name", "form"), [("a.mp4", "mp4"), ("a.ts", "mpegts"), ("a.mkv", "matroska")])
    @pytest.mark.parametrize("share", np.linspace(0.3, 0.9, 9))
    def test_the_end_of_a_cut_film_does_not_change_its_rate(
        self, tmp_path: Path, name: str, form: str, share: float
    ) -> None:
        """H.264 decodes some frames before others that are shown earlier, which the cut takes away."""
        noise = np.random.default_rng(0).integers(0, 256, (60, 32, 48, 3), dtype=np.uint8)
        options = {"movflags": "faststart"} if form == "mp4" else {}
        with av.open(str(tmp_path / name), "w", format=form, options=options) as container:
            stream: Any = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "bf": "3"})
            stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
            for image in noise:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        cut_off(tmp_path / name, share)
        facts = read_facts(tmp_path / name)
        assert 0 < facts.frames < 60
        assert facts.fps == 25
        latest = max(found.time for found in read_frames(tmp_path / name))
        assert latest < facts.duration <= facts.frames / 25 + 4 / 25

    @pytest.mark.parametrize(("form", "codec"), [("h264", "libx264"), ("m4v", "mpeg4"), ("mjpeg", "mjpeg")])
    def test_without_stamps_the_declared_rate_counts(self, tmp_path: Path, form: str | None, codec: str) -> None:
        write_film(tmp_path / f"a.{form}", drawn_frames(8), codec, 10, form)
        fps = 25 if form == "mjpeg" else 10  # declares no rate, for which FFmpeg assumes 25
        assert read_facts(tmp_path / f"a.{form}").fps == fps
        assert [found.time for found in read_frames(tmp_path / f"a.{form}")] == pytest.approx(np.arange(8) / fps)

    def test_stamps_in_the_order_of_decoding(self, tmp_path: Path) -> None:
        """AVI has no other stamps, and H.264 decodes some frames before others that are shown earlier."""
        write_film(tmp_path / "a.avi", drawn_frames(20), "libx264", 10)
        frames = list(read_frames(tmp_path / "a.avi"))
        assert [found.time for found in frames] == pytest.approx(np.arange(20) / 10)
        assert [int(found.image[20, 30, 0]) for found in frames] == pytest.approx(np.arange(20) * 10 % 200, abs=8)

    def test_one_frame_and_how_long_it_is_shown(self, tmp_path: Path) -> None:
        write_at(tmp_path / "a.mp4", [0.0], last=2.5)
        facts = read_facts(tmp_path / "a.mp4")
        assert (facts.frames, facts.duration, facts.fps) == (1, 2.5, Fraction(2, 5))
        assert [found.time for found in read_frames(tmp_path / "a.mp4")] == [0.0]

    def test_an_edit_list_cuts_the_beginning_off(self, tmp_path: Path) -> None:
        """As in a video trimmed on a phone: the file has earlier frames that are not shown."""
        write_at(tmp_path / "a.mp4", TENTHS, "mpeg4", 10, offset=-0.3, base=Fraction(1, 10))
        facts, frames = read_facts(tmp_path / "a.mp4"), list(read_frames(tmp_path / "a.mp4"))
        assert len(frames) == facts.frames == 7
        assert [found.time for found in frames] == pytest.approx(np.arange(7) / 10)
        assert facts.duration == pytest.approx(0.7)
        assert [int(found.image[20, 30, 0]) for found in frames] == pytest.approx(np.arange(3, 10) * 10, abs=8)

    def test_joined_recordings_whose_clock_restarts(self, tmp_path: Path) -> None:
        write_at(tmp_path / "a.ts", TENTHS, "mpeg2video", 25, 5.0, "mpegts", Fraction(1, 25))
        (tmp_path / "b.ts").write_bytes(2 * (tmp_path / "a.ts").read_bytes())
        once, twice = read_facts(tmp_path / "a.ts"), read_facts(tmp_path / "b.ts")
        assert twice.frames == 2 * once.frames
        assert twice.duration == pytest.approx(2 * once.duration)
        times = [found.time for found in read_frames(tmp_path / "b.ts")]
        assert all(before < after for before, after in pairwise(times))
        assert times[-1] == pytest.approx(twice.duration, abs=0.15)


class TestUnevenWriting:
    @pytest.mark.parametrize("encoder", ["libx264", "mpeg4"])
    @pytest.mark.parametrize(
        ("times", "duration"),
        [(UNEVEN, 2.5), ([0.0], 3.0), ([0.0, 1e-9, 0.5], 0.6), ([0.0, 86_400.0, 2 * 86_400.0], 3 * 86_400.0)],
    )
    def test_lasts_as_long_and_shows_each_frame_at_its_time(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: str, times: Sequence[float], duration: float
    ) -> None:
        monkeypatch.setattr(video_writer, "has_encoder", lambda name: name == encoder)
        fps = encodable_rate(Fraction(len(times)) / Fraction(duration))
        with VideoWriter(tmp_path / "a.mp4", fps, duration) as writer:
            for index, time in enumerate(times):
                writer.append(frame(index), time)
        assert [found.time for found in read_frames(tmp_path / "a.mp4")] == pytest.approx(times, abs=1e-3)
        assert read_facts(tmp_path / "a.mp4").duration == pytest.approx(duration, abs=1e-3)

    def test_without_a_duration_the_last_is_shown_as_long_as_the_mean(self, tmp_path: Path) -> None:
        with VideoWriter(tmp_path / "a.mp4", Fraction(4)) as writer:
            for index, time in enumerate((0.0, 0.1, 1.0)):
                writer.append(frame(index), time)
        assert read_facts(tmp_path / "a.mp4").duration == pytest.approx(1.25)


class TestTracks:
    @pytest.mark.parametrize(
        ("defaults", "height"),
        [((False, True), 34), ((True, False), 32), ((False, True, False), 34), ((False, False, True), 36)],
    )
    @pytest.mark.parametrize("suffix", ["mkv", "mov"])
    def test_the_default_track_is_read(
        self, tmp_path: Path, defaults: tuple[bool, ...], height: int, suffix: str
    ) -> None:
        path = tmp_path / f"a.{suffix}"
        write_tracks(path, defaults)
        assert {found.image.shape for found in read_frames(path)} == {(height, 48, 3)}
        assert read_facts(path).more_tracks == len(defaults) - 1
        assert read_facts(path).frames == 5

    @pytest.mark.parametrize("defaults", [(True, True), (False, False)])
    def test_ffmpeg_chooses_among_several_or_no_defaults(self, tmp_path: Path, defaults: tuple[bool, ...]) -> None:
        write_tracks(tmp_path / "a.mkv", defaults)
        with av.open(str(tmp_path / "a.mkv")) as container:
            best: Any = container.streams.best("video")
        assert next(read_frames(tmp_path / "a.mkv")).image.shape[0] == best.height

    def test_a_cover_image_is_not_a_track(self, tmp_path: Path) -> None:
        write_tracks(tmp_path / "a.mp4", (True,), cover=True)
        assert next(read_frames(tmp_path / "a.mp4")).image.shape == (32, 48, 3)
        assert read_facts(tmp_path / "a.mp4").more_tracks == 0
        write_tracks(tmp_path / "b.mp4", (), cover=True)
        with pytest.raises(AstSegError, match="only a cover image"):
            read_facts(tmp_path / "b.mp4")


def test_a_title_in_latin_1(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        container.metadata["title"] = "Gruesse"
        stream: Any = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for image in drawn_frames(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    content = (tmp_path / "a.avi").read_bytes()
    assert b"Gruesse" in content
    (tmp_path / "a.avi").write_bytes(content.replace(b"Gruesse", "Grüße".encode("latin-1") + b"  "))
    assert len(list(read_frames(tmp_path / "a.avi"))) == 3


def test_frames_of_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.mp4", 2)
    monkeypatch.setattr(video, "MAX_FRAME_PIXELS", 32 * 48 - 1)
    with pytest.raises(AstSegError, match="32 x 48 pixels; at most 1535"):
        read_facts(tmp_path / "a.mp4")


@pytest.mark.parametrize("codec", ["mpeg4", "mjpeg"])
def test_an_avi_with_dropped_frames_is_whole(tmp_path: Path, codec: str) -> None:
    shown = [index for index in range(40) if index % 4 != 3]
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        for index in shown:
            one = av.VideoFrame.from_ndarray(frame(index), format="rgb24")
            one.pts, one.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(one))
        container.mux(stream.encode())
    facts = read_facts(tmp_path / "a.avi")
    assert (facts.frames, facts.missing) == (30, 0)
    assert [round(25 * one.time) for one in read_frames(tmp_path / "a.avi")] == shown
