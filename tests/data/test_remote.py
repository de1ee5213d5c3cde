import hashlib
import http.server
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.data.streams import serving

from astseg._core.errors import AstSegError
from astseg.data import remote
from astseg.data.remote import cache_folder, fetch


class Server(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = b"one"
        self.versioned = True
        self.sized = True
        self.requests: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_port}/some%20where/a%20b.png?key=7"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.server.requests.append(self.command)
        self.send_response(200)
        if self.server.sized:
            self.send_header("Content-Length", str(len(self.server.content)))
        if self.server.versioned:
            self.send_header("ETag", f'"{hashlib.sha256(self.server.content).hexdigest()}"')
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(self.server.content)


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


def test_without_a_version_it_is_fetched_every_time(server: Server, tmp_path: Path) -> None:
    server.versioned = False
    assert fetch(server.address, tmp_path).read_bytes() == b"one"
    server.content = b"two"
    assert fetch(server.address, tmp_path).read_bytes() == b"two"


def test_refused(server: Server, tmp_path: Path) -> None:
    with pytest.raises(AstSegError, match=r"has 0\.0 GB; at most 0\.0 GB are fetched"):
        fetch(server.address, tmp_path, max_bytes=2)
    server.sized = False
    with pytest.raises(AstSegError, match="does not say how large it is"):
        fetch(server.address, tmp_path)
    for address in ("http://me:secret@127.0.0.1:9/a.png", "http://[/a.png"):
        with pytest.raises(AstSegError, match="does not answer") as error:
            fetch(address, tmp_path)
        assert "secret" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_leads_nowhere(server: Server, tmp_path: Path) -> None:
    base = server.address.partition("/some")[0]
    for path, name in (("/..%2F..%2F.hidden", "hidden"), ("/", "download"), ("/" + "x" * 300 + ".png", None)):
        file = fetch(base + path, tmp_path)
        assert file.parent.parent == tmp_path
        assert name is None or file.name == name
        assert len(file.name) <= remote.MAX_NAME_LENGTH


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASTSEG_CACHE", "/x")
    assert cache_folder() == Path("/x")
    monkeypatch.delenv("ASTSEG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/y")
    assert cache_folder() == Path("/y/astseg")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache/astseg"
