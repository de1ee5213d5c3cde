"""Servers that answer anything."""

import http.server
from pathlib import Path

import pytest
from tests.data.streams import serving

from astseg._core.errors import AstSegError
from astseg.data.benchmarks import downloading
from astseg.data.benchmarks.downloading import download, plan_files
from astseg.data.benchmarks.registry import RemoteFile
from astseg.data.remote import DownloadCache

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
DAMAGED = {
    "negative chunk": CHUNKED + b"-5\r\nabcde\r\n0\r\n\r\n",
    "chunk without a length": CHUNKED + b"ZZ\r\nabcde\r\n0\r\n\r\n",
    "chunk that is too long": CHUNKED + b"F" * 30 + b"\r\nabcde",
    "length of a chunk that is too long": CHUNKED + b"1" * 100_000 + b"\r\nabcde",
    "trailer that is too long": CHUNKED + b"5\r\nabcde\r\n0\r\n" + b"a" * 100_000 + b"\r\n\r\n",
    "too short": OK + b"Content-Length: 5\r\n\r\nabc",
    "other protocol": b"SSH-2.0-OpenSSH\r\n\r\n",
    "other bytes": b"\xff\xfe\0\r\n\r\n",
    "code that is no number": b"HTTP/1.1 abc OK\r\n\r\n",
    "negative code": b"HTTP/1.1 -20 OK\r\n\r\n",
    "nothing": b"",
    "many headers": OK + b"X: y\r\n" * 500 + b"\r\n",
    "long header": OK + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
}
ELSEWHERE = {
    "no address": "http://[::1",
    "no port": "http://127.0.0.1:port/",
    "label": f"http://{'a' * 300}/x",
    "dots": "http://a..b/x",
    "ftp": "ftp://127.0.0.1:9/x",
    "file": "file:///etc/hostname",
    "data": "data:text/plain,abcde",
    "itself": "/",
}
ANSWERS = DAMAGED | {
    name: b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + address.encode() + b"\r\n\r\n"
    for name, address in ELSEWHERE.items()
}


class Raw(http.server.ThreadingHTTPServer):
    """Answers with the same bytes, whatever it is asked; or says to HEAD that the file has five bytes."""

    def __init__(self, answer: bytes, told: bool) -> None:
        super().__init__(("127.0.0.1", 0), RawHandler)
        self.answer = answer
        self.told = told
        self.address = f"http://127.0.0.1:{self.server_port}/a.png"


class RawHandler(http.server.BaseHTTPRequestHandler):
    server: Raw

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.wfile.write(OK + b"Content-Length: 5\r\n\r\n" if self.server.told else self.server.answer)

    def do_GET(self) -> None:
        self.wfile.write(self.server.answer)


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("name", ANSWERS)
def test_damaged_answers_are_told(name: str, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "RETRY_DELAY", 0.0)
    with serving(Raw(ANSWERS[name], told)) as server:
        with DownloadCache(tmp_path / "cache", 1000) as cache, pytest.raises(AstSegError) as error:
            cache.fetch(server.address)
        message = str(error.value)
        assert server.address in message
        assert "Cannot write" not in message
        if name == "ftp":
            assert f"it leads to {ELSEWHERE[name]}, and only http and https are followed" in message
        with pytest.raises(AstSegError, match=server.address):
            download(plan_files([RemoteFile(server.address)], tmp_path / "files"))
    assert not list(tmp_path.rglob("a.png"))


@pytest.mark.parametrize("name", ["negative chunk", "ftp", "other protocol"])
def test_a_checksum_that_comes_damaged(name: str, tmp_path: Path) -> None:
    with (
        serving(Raw(ANSWERS[name], told=True)) as server,
        serving(Raw(OK + b"Content-Length: 1\r\n\r\na", False)) as good,
    ):
        file = RemoteFile(good.address, server.address)
        with pytest.raises(AstSegError, match="Cannot download the checksum"):
            download(plan_files([file], tmp_path))
