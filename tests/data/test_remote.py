import base64
import hashlib
import http.server
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

import pytest
from tests.data.streams import serving

from astseg._core.atomic_io import lock_folder
from astseg._core.errors import AstSegError
from astseg._core.progress import ByteProgress
from astseg.data import remote
from astseg.data.benchmarks import downloading
from astseg.data.benchmarks.servers import request_for
from astseg.data.remote import DownloadCache, cache_folder, cache_limit


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, handler: "type[Handler] | None" = None) -> None:
        super().__init__(("127.0.0.1", 0), handler or Handler)
        self.content = b"one"
        self.versioned = True
        self.sized = True
        self.head_code = 200
        self.head_sized = True
        self.breaks_after: int | None = None
        self.requests: list[str] = []
        self.credentials: set[str | None] = set()
        self.address = f"http://127.0.0.1:{self.server_port}/some%20where/a%20b.png?key=7"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.server.requests.append(self.command)
        self.server.credentials.add(self.headers.get("Authorization"))
        head = self.command == "HEAD"
        self.send_response(self.server.head_code if head else 200)
        if self.server.sized and (self.server.head_sized or not head):
            self.send_header("Content-Length", str(len(self.server.content)))
        if self.server.versioned:
            self.send_header("ETag", f'"{hashlib.sha256(self.server.content).hexdigest()}"')
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        if self.headers.get("Range"):
            self.server.requests.append("Range")
        with suppress(ConnectionError):  # whoever wants the headers alone hangs up
            self.wfile.write(self.server.content[: self.server.breaks_after])
        self.server.breaks_after = None


class ChunkedHandler(Handler):
    """Sends what it has in chunks, with or without the end, and never a length."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        content, stop = self.server.content, self.server.breaks_after
        self.wfile.write(f"{len(content):x}\r\n".encode() + content[:stop])
        if stop is None:
            self.wfile.write(b"\r\n0\r\n\r\n")
        self.close_connection = True


def fetch(address: str, folder: Path, report: ByteProgress | None = None, max_bytes: int = 100) -> Path:
    with DownloadCache(folder, limit=1000) as cache:
        return cache.fetch(address, report, max_bytes)


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("https://h/straße b.jpg?q=ä b&c=%20", "https://h/stra%C3%9Fe%20b.jpg?q=%C3%A4%20b&c=%20"),
        ("http://me:pw@bücher.de:8080/a.png", "http://xn--bcher-kva.de:8080/a.png"),
        ("http://[::1]:80/a(1)~.png", "http://[::1]:80/a(1)~.png"),
        ("http://[::1]/a", "http://[::1]/a"),
    ],
)
def test_addresses_as_browsers_show_them(address: str, sent: str) -> None:
    assert request_for(address).full_url == sent


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server()) as running:
        yield running


def test_a_file_is_fetched_once_while_it_is_the_same(server: Server, tmp_path: Path) -> None:
    first = fetch(server.address, tmp_path)
    assert first.name == "a_b.png"
    assert first.read_bytes() == b"one"
    assert fetch(server.address, tmp_path) == first
    assert server.requests.count("GET") == 1
    server.content = b"two"
    second = fetch(server.address, tmp_path)
    assert second.read_bytes() == b"two"
    assert first.read_bytes() == b"one"
    assert server.requests.count("GET") == 2


@pytest.mark.parametrize("sized", [True, False])
def test_a_name_and_a_password_go_to_the_server_alone(server: Server, tmp_path: Path, sized: bool) -> None:
    server.sized = sized
    address = server.address.replace("//", "//me:s%40cret@")
    assert fetch(address, tmp_path).read_bytes() == b"one"
    assert server.credentials == {"Basic " + base64.b64encode(b"me:s@cret").decode()}
    server.content = bytes(101)
    with pytest.raises(AstSegError, match=r"http://127\.0\.0\.1:\d+/some.* at most 0\.0 GB"):
        fetch(address, tmp_path)
    with pytest.raises(AstSegError, match=r"^http://127\.0\.0\.1:1/ does not answer: [^:]*refused"):
        fetch("http://me:secret@127.0.0.1:1/", tmp_path)


def test_the_passwords_of_another_server_are_not_sent_along(tmp_path: Path) -> None:
    class Leading(Handler):
        def do_HEAD(self) -> None:
            self.server.credentials.add(self.headers.get("Authorization"))
            self.send_response(302)
            self.send_header("Location", other.address)
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()

    with serving(Server()) as other, serving(Server(Leading)) as first:
        assert fetch(first.address.replace("//", "//me:secret@"), tmp_path).read_bytes() == b"one"
        assert None not in first.credentials
        assert other.credentials == {None}


def test_who_fetches_the_same_at_once_waits(server: Server, tmp_path: Path) -> None:
    path = fetch(server.address, tmp_path)
    with ThreadPoolExecutor() as threads:
        with lock_folder(path.parent, path.parent):
            other = threads.submit(fetch, server.address, tmp_path)
            assert wait([other], 0.3).not_done
        assert other.result() == path


def test_without_a_version_it_is_fetched_every_time(server: Server, tmp_path: Path) -> None:
    server.versioned = False
    assert fetch(server.address, tmp_path).read_bytes() == b"one"
    server.content = b"two"
    assert fetch(server.address, tmp_path).read_bytes() == b"two"
    (file,) = tmp_path.rglob("a_b.png")
    file.write_bytes(b"o")
    file.rename(file.with_name("a_b.png.part"))  # stopped, and no one knows of which file
    assert fetch(server.address, tmp_path).read_bytes() == b"two"


def test_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(AstSegError, match=r"has 0\.0 GB; at most 0\.0 GB are fetched"):
        fetch(server.address, tmp_path, max_bytes=2)
    server.sized = False
    with pytest.raises(AstSegError, match=r"has more than it should; at most 0\.0 GB are fetched"):
        fetch(server.address, tmp_path, max_bytes=2)
    for address in ("http://me:secret@127.0.0.1:9/a.png", "http://[/a.png"):
        with pytest.raises(AstSegError, match="does not answer") as error:
            fetch(address, tmp_path)
        assert "secret" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [403, 405, 501])
def test_a_server_that_refuses_to_tell_is_asked_for_the_file(server: Server, tmp_path: Path, code: int) -> None:
    server.head_code = code
    first = fetch(server.address, tmp_path)
    assert first.read_bytes() == b"one"
    before = len(server.requests)
    assert fetch(server.address, tmp_path) == first
    assert server.requests[before : before + 2] == ["HEAD", "GET"]


def test_what_is_not_there_is_not_asked_for_twice(server: Server, tmp_path: Path) -> None:
    server.head_code = 404
    with pytest.raises(AstSegError, match="does not answer: HTTP Error 404"):
        fetch(server.address, tmp_path)
    assert server.requests == ["HEAD"]


def test_a_length_that_the_file_alone_has_is_found(server: Server, tmp_path: Path) -> None:
    server.head_sized = False
    with pytest.raises(AstSegError, match=r"has 0\.0 GB; at most"):
        fetch(server.address, tmp_path, max_bytes=2)
    assert fetch(server.address, tmp_path).read_bytes() == b"one"


@pytest.mark.parametrize("versioned", [True, False])
def test_a_file_of_unknown_length(server: Server, tmp_path: Path, versioned: bool) -> None:
    server.sized, server.versioned = False, versioned
    told: list[tuple[str, int, int | None]] = []
    assert fetch(server.address, tmp_path, lambda *state: told.append(state)).read_bytes() == b"one"
    assert told == [("a_b.png", 3, None)]
    fetch(server.address, tmp_path, lambda *state: told.append(state))
    assert len(told) == (1 if versioned else 2), "without a version, nobody knows whether it has changed"
    server.content = b"other"
    assert fetch(server.address, tmp_path).read_bytes() == b"other"


def test_a_file_of_unknown_length_is_whole_or_refused(tmp_path: Path) -> None:
    with serving(Server(ChunkedHandler)) as server:
        server.head_code, server.versioned, server.sized = 405, False, False
        server.breaks_after = 2
        with pytest.raises(AstSegError, match=r"The download of http.*a%20b.* broke off: IncompleteRead"):
            fetch(server.address, tmp_path)
        assert list(tmp_path.iterdir()) == []
        server.breaks_after = None
        assert fetch(server.address, tmp_path).read_bytes() == b"one"


def test_a_server_that_cannot_send_the_rest_sends_all_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloading, "RETRY_DELAY", 0.0)
    server.breaks_after = 2
    assert fetch(server.address, tmp_path).read_bytes() == b"one"
    assert "Range" in server.requests


def test_a_name_that_leads_nowhere(server: Server, tmp_path: Path) -> None:
    base = server.address.partition("/some")[0]
    for path, name in (
        ("/..%2F..%2F.hidden", "hidden"),
        ("/", "download"),
        ("/" + "x" * 300 + ".png", None),
        ("/" + "%E7%85%A7" * 90 + ".png", None),
    ):
        file = fetch(base + path, tmp_path)
        assert file.parent.parent == tmp_path
        assert name is None or file.name == name
        assert len(file.name.encode()) <= remote.MAX_NAME_BYTES


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASTSEG_CACHE", "/x")
    assert cache_folder() == Path("/x")
    monkeypatch.delenv("ASTSEG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/y")
    assert cache_folder() == Path("/y/astseg")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache/astseg"


def test_how_large_the_cache_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASTSEG_CACHE_GB", raising=False)
    assert cache_limit() == 20 * 10**9
    monkeypatch.setenv("ASTSEG_CACHE_GB", "0.5")
    assert cache_limit() == 5 * 10**8
    for wrong in ("-1", "much", "nan", "inf"):
        monkeypatch.setenv("ASTSEG_CACHE_GB", wrong)
        with pytest.raises(AstSegError, match=f"ASTSEG_CACHE_GB should be a number of gigabytes, not '{wrong}'"):
            cache_limit()


def test_what_a_command_uses_stays_until_its_end(server: Server, tmp_path: Path) -> None:
    addresses = [f"{server.address}&n={index}" for index in range(3)]
    with DownloadCache(tmp_path, limit=6) as cache:
        files = []
        for age, address in zip((30, 20, 10), addresses, strict=True):
            files.append(cache.fetch(address))
            os.utime(files[-1].parent, (time.time() - age,) * 2)
        with DownloadCache(tmp_path, limit=0) as other:
            other.fetch(addresses[0])
        assert all(file.is_file() for file in files)
    assert [file.is_file() for file in files].count(True) == 2
    with DownloadCache(tmp_path, limit=0) as cache:
        cache.fetch(addresses[0])
    assert list(tmp_path.iterdir()) == []
