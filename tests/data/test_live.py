import sys
import threading
import time
from itertools import islice

import numpy as np
import pytest
from tests.data.streams import RtspServer, StreamServer, serving, transport_stream

from astseg._core.errors import AstSegError
from astseg.data import live
from astseg.data.live import LiveSource
from astseg.data.sources import Sample


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "FIRST_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(live, "TIMEOUT_SECONDS", 2.0)


@pytest.fixture
def nothing_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is."""
    monkeypatch.setattr(live, "QUEUE_SIZE", 1000)


def take(source: LiveSource, count: int) -> list[Sample]:
    """Take a number of frames, and close the stream."""
    samples = iter(source)
    taken = list(islice(samples, count))
    source.stop = lambda: True
    assert list(samples) == []
    return taken


def test_frames_of_a_stream_with_their_numbers_and_times(nothing_dropped: None) -> None:
    with serving(StreamServer(transport_stream(40), seconds=1.0)) as server:
        source = LiveSource(server.address)
        assert source.fps == 25
        assert source.estimated_length() is None
        frames = take(source, 20)
    assert 0 <= (frames[0].time or 0) < 1
    assert frames[0].image.shape == (48, 64, 3)
    numbers = [int(frame.name) for frame in frames]
    times = [frame.time for frame in frames if frame.time is not None]
    assert numbers == sorted(set(numbers))
    assert times == sorted(times)
    greys = [int(frame.image.mean()) for frame in frames]
    assert greys == sorted(greys)
    assert greys[-1] > greys[0] + 60
    np.testing.assert_allclose(greys, [20 + 5 * number for number in numbers], atol=4)


def test_nothing_is_wrong_with_a_stream_that_was_closed(nothing_dropped: None) -> None:
    with serving(StreamServer(transport_stream(40), seconds=2.0)) as server:
        source = LiveSource(server.address)
        take(source, 5)
        assert source.state == ""


def test_whoever_is_slow_gets_the_latest_frames_and_the_others_are_counted() -> None:
    with serving(StreamServer(transport_stream(45), seconds=0.4)) as server:
        source = LiveSource(server.address)
        samples = iter(source)
        first = next(samples)
        time.sleep(1.0)  # the film is over, and has begun again or will soon
        second = next(samples)
        source.stop = lambda: True
        assert list(samples) == []
    assert int(second.name) - int(first.name) > live.QUEUE_SIZE
    assert source.state.startswith("dropped: ")
    dropped = int(source.state.removeprefix("dropped: ").partition(",")[0])
    assert dropped >= int(second.name) - int(first.name) - 1


def test_every_nth_frame(nothing_dropped: None) -> None:
    with serving(StreamServer(transport_stream(40), seconds=1.0)) as server:
        source = LiveSource(server.address, every=5)
        frames = take(source, 4)
    assert source.fps == 5
    assert [frame.name for frame in frames] == ["000000", "000005", "000010", "000015"]


def test_a_stream_that_breaks_off_is_opened_again() -> None:
    with serving(StreamServer(transport_stream(10), seconds=0.2)) as server:
        source = LiveSource(server.address)
        frames = take(source, 25)
        assert server.connections >= 4  # the first one asks for the rate
    assert int(frames[-1].name) >= 24
    assert "opened again: " in source.state


def test_a_stream_that_stays_away_ends(nothing_dropped: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_SILENCE_SECONDS", 0.5)
    with serving(StreamServer(transport_stream(10), seconds=0.2)) as server:
        source = LiveSource(server.address)
        samples = iter(source)
        next(samples)
        server.refused = True
        rest = list(samples)
    assert len(rest) >= 5
    assert "503" in source.state or "cannot be opened" in source.state


def test_a_reader_that_fails_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(packet: object) -> None:
        raise RuntimeError("a fault of the decoder")

    with serving(StreamServer(transport_stream(10), seconds=0.2)) as server:
        source = LiveSource(server.address)
        monkeypatch.setattr(live, "_decode", fail)
        assert list(source) == []
    assert "reading failed: a fault of the decoder" in source.state


def test_waits_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    with serving(StreamServer(transport_stream(10), seconds=0.1)) as server:
        source = LiveSource(server.address)
        server.refused = True
        monkeypatch.setattr(live, "MAX_WAIT_SECONDS", 0.2)
        monkeypatch.setattr(live, "MAX_SILENCE_SECONDS", 0.6)
        wait = threading.Event.wait

        def record(event: threading.Event, seconds: float | None = None) -> bool:
            if seconds in (0.05, 0.1, 0.2):
                waits.append(seconds or 0)
            return bool(wait(event, seconds))

        monkeypatch.setattr(threading.Event, "wait", record)
        assert list(source) == []
    assert waits[:4] == [0.05, 0.1, 0.2, 0.2]


def test_rtsp_with_a_password_that_nobody_reads() -> None:
    with serving(RtspServer(transport_stream(40))) as server:
        source = LiveSource(server.address)
        frames = take(source, 5)
    assert len(frames) == 5
    assert source.name == server.address.replace("me:secret@", "")
    assert "secret" not in str(source.path)


def test_a_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver of FFmpeg that paints a test image stands in for that of the system's cameras."""
    pattern = "testsrc=size=64x48:rate=200,trim=end_frame={}"
    monkeypatch.setattr(live, "CAMERA_FORMATS", {sys.platform: ("lavfi", pattern)})
    frames = take(LiveSource("camera:500"), 3)
    assert frames[0].image.shape == (48, 64, 3)
    assert frames[0].image.std() > 50


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("camera:", "names no camera"),
        ("camera:front", "camera:0 is the first"),
        ("camera:0", "camera:0 cannot be opened"),
        ("rtsp://me:secret@127.0.0.1:9/x", "rtsp://127.0.0.1:9/x cannot be opened: Connection refused"),
        ("live:http://127.0.0.1:9/x", "cannot be opened: Connection refused"),
    ],
)
def test_mistakes(word: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "CAMERA_FORMATS", {sys.platform: ("v4l2", "/nowhere/video{}")})
    with pytest.raises(AstSegError, match=message) as error:
        LiveSource(word)
    assert "secret" not in str(error.value)


def test_a_stream_that_is_no_video() -> None:
    with serving(StreamServer(b"<html>no video</html>" * 500, seconds=0.01)) as server, pytest.raises(AstSegError):
        LiveSource(server.address)


def test_an_address_cannot_lead_to_a_file() -> None:
    playlist = b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    with serving(StreamServer(playlist, seconds=0.01)) as server, pytest.raises(AstSegError):
        LiveSource(server.address)
