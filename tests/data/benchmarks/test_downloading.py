import errno
import hashlib
import http.client
import http.server
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.power_cuts import restore, watched_disk

from astseg._core.atomic_io import lock_folder
from astseg._core.errors import AstSegError
from astseg.cli import app
from astseg.cli._console import run
from astseg.data.benchmarks import downloading as module
from astseg.data.benchmarks.download_part import DownloadPart
from astseg.data.benchmarks.downloading import PlannedFile, download, plan_download, plan_files
from astseg.data.benchmarks.registry import BENCHMARKS, RemoteFile

NO_SERVER = "http://127.0.0.1:9/a.tar"
CONTENT = np.random.default_rng(0).bytes(1_000_000)


class Server(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"a.tar.gz": CONTENT}
        self.tag = '"one"'
        self.drop_after: list[int] = []  # bytes after which the next answers break off
        self.requests: list[tuple[str, str | None]] = []
        self.ranges = True
        self.status = 200
        self.tells_length = True
        self.chunked = False  # each answer is one chunk, and then tells no length
        self.length: str | None = None  # what it says instead of the true length
        self.range: str | None = None  # what it says instead of the true range
        self.endless = False
        self.always_partial = False  # the whole file too is called a part

    def remote(self, name: str = "a.tar.gz", md5: str | None = None, size: int | None = None) -> RemoteFile:
        address = f"http://127.0.0.1:{self.server_port}/{name}"
        return RemoteFile(address, md5 and f"http://127.0.0.1:{self.server_port}/{md5}", size)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        server = self.server
        server.requests.append((self.command, self.headers.get("Range")))
        content = server.files.get(self.path.lstrip("/"))
        if content is None or server.status != 200:
            self.send_error(404 if content is None else server.status)
            return
        start, stop = 0, len(content)
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if match and server.ranges and self.headers.get("If-Range") == (server.tag or None):
            start = int(match[1])
        # All is decided before the reader sees the headers: then it may hang up, and the test ask for other answers.
        if body and server.drop_after:
            stop = start + server.drop_after.pop(0)
        endless, chunked = server.endless and body, server.chunked
        self.protocol_version = "HTTP/1.1" if chunked else "HTTP/1.0"
        partial = start or server.always_partial
        self.send_response(206 if partial else 200)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")
        elif server.tells_length and not endless:
            self.send_header("Content-Length", server.length or str(len(content) - start))
        if partial and server.range != "":
            self.send_header("Content-Range", server.range or f"bytes {start}-{len(content) - 1}/{len(content)}")
        if server.tag:
            self.send_header("ETag", server.tag)
        self.end_headers()
        if not body:
            return
        with suppress(ConnectionError):  # the reader may hang up
            while endless:
                self.wfile.write(content)
            before, after = (f"{len(content) - start:x}\r\n".encode(), b"\r\n0\r\n\r\n") if chunked else (b"", b"")
            self.wfile.write(before + content[start:stop] + (after if stop == len(content) else b""))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "RETRY_DELAY", 0.0)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def gets(server: Server) -> list[str | None]:
    return [span for command, span in server.requests if command == "GET"]


def test_sizes_are_known_first_and_files_arrive_whole(server: Server, tmp_path: Path) -> None:
    server.files["b.tar"] = b"short"
    plan = plan_files([server.remote(), server.remote("b.tar")], tmp_path / "d")
    assert (plan.size, plan.remaining) == (1_000_005, 1_000_005)
    assert gets(server) == []
    assert not (tmp_path / "d").exists()
    seen: list[tuple[str, int, int | None]] = []
    paths = download(plan, lambda *what: seen.append(what))
    assert [path.read_bytes() for path in paths] == [CONTENT, b"short"]
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["a.tar.gz", "b.tar"]
    assert seen[-1] == ("b.tar", 5, 5)
    assert ("a.tar.gz", 1_000_000, 1_000_000) in seen


@pytest.mark.parametrize("tells_length", [True, False])
def test_present_files_are_not_downloaded_again(server: Server, tmp_path: Path, tells_length: bool) -> None:
    (tmp_path / "a.tar.gz").write_bytes(CONTENT)
    server.tells_length = tells_length
    plan = plan_files([server.remote()], tmp_path)
    assert (plan.size, plan.remaining) == (1_000_000, 0)
    assert download(plan) == [tmp_path / "a.tar.gz"]
    assert gets(server) == []


def test_of_a_present_file_only_the_size_is_checked(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(bytes(len(CONTENT)))
    (planned,) = plan_files([server.remote(md5="a.md5")], tmp_path).files
    assert planned.verification == "its size alone, as it was there already; its content is NOT verified"


def test_two_commands_do_not_download_into_one_folder(server: Server, tmp_path: Path) -> None:
    plan = plan_files([server.remote()], tmp_path / "d")
    with lock_folder(plan.folder, plan.folder), pytest.raises(AstSegError, match="Another command is writing"):
        download(plan)
    assert download(plan)[0].read_bytes() == CONTENT


def test_a_network_that_goes_is_tried_again(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = http.client.HTTPResponse.read
    failures = iter([OSError(errno.EHOSTUNREACH, "No route to host")])

    def fail_once(answer: http.client.HTTPResponse, *arguments: Any) -> bytes:
        for failure in failures:
            raise failure
        return read(answer, *arguments)

    plan = plan_files([server.remote()], tmp_path / "d")
    monkeypatch.setattr(http.client.HTTPResponse, "read", fail_once)
    assert download(plan)[0].read_bytes() == CONTENT


@pytest.mark.parametrize("address", ["http://localhost:9/donn\u00e9es", "http://a..b/c", "http://[bad/c"])
def test_an_address_that_is_none(address: str, tmp_path: Path) -> None:
    with pytest.raises(AstSegError, match="does not answer"):
        plan_files([RemoteFile(address)], tmp_path)


def test_an_empty_file_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"")
    (path,) = download(plan_files([server.remote()], tmp_path))
    assert path.read_bytes() == CONTENT


def test_the_command_prints_sizes_and_paths(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.files["clevrtex_camo.tar.gz"] = CONTENT
    mirror = f"http://127.0.0.1:{server.server_port}"
    assert run(app, ["data", "download", "clevrtex-camo", str(tmp_path / "d"), "--mirror", mirror]) == 0
    printed = capsys.readouterr()
    sizes, path = printed.out.splitlines()
    assert sizes.startswith("1 file, 1.0 MB, 1.0 MB ")
    assert path == str(tmp_path / "d" / "clevrtex_camo.tar.gz")
    assert "Checked the size that the server says; its content is NOT verified" in printed.err


def test_refused_plans(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "a.tar.gz"
    file.write_bytes(b"short")
    with pytest.raises(AstSegError, match="has 5 bytes"):
        plan_files([server.remote()], tmp_path)
    with pytest.raises(AstSegError, match="is a file"):
        plan_files([server.remote()], file)
    server.files["a.tar.gz"] = b""
    with pytest.raises(AstSegError, match="is empty"):
        plan_files([server.remote()], tmp_path / "d")


@pytest.mark.parametrize("tag", ['"one"', ""])
def test_a_broken_connection_is_resumed(server: Server, tmp_path: Path, tag: str) -> None:
    server.tag = tag
    server.drop_after = [300_000, 0, 200_000]
    (path,) = download(plan_files([server.remote()], tmp_path))
    assert path.read_bytes() == CONTENT
    assert gets(server) == [None, "bytes=300000-", "bytes=300000-", "bytes=500000-"]


def stop_early(server: Server, tmp_path: Path) -> None:
    """Leave 300000 bytes behind."""
    server.drop_after = [300_000] + [0] * module.MAX_ATTEMPTS
    with pytest.raises(AstSegError, match="Cannot download"):
        download(plan_files([server.remote()], tmp_path))
    assert (tmp_path / "a.tar.gz.part").stat().st_size == 300_000
    server.drop_after, server.requests = [], []


def test_a_server_that_calls_the_whole_file_a_part(server: Server, tmp_path: Path) -> None:
    server.always_partial = True
    download(plan_files([server.remote()], tmp_path))
    assert (tmp_path / "a.tar.gz").read_bytes() == CONTENT


def test_a_second_run_resumes(server: Server, tmp_path: Path) -> None:
    stop_early(server, tmp_path)
    plan = plan_files([server.remote()], tmp_path)
    assert plan.remaining == 700_000
    (path,) = download(plan)
    assert path.read_bytes() == CONTENT
    assert gets(server) == ["bytes=300000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


@pytest.mark.parametrize("tells_length", [True, False])
def test_a_link_in_place_of_the_part_is_not_written_through(server: Server, tmp_path: Path, tells_length: bool) -> None:
    server.tells_length = tells_length
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "disk").mkdir()
    (tmp_path / "files").symlink_to("disk")  # a folder that the user names may be a link
    for name in ("a.tar.gz.part", "a.tar.gz.part.json"):
        (tmp_path / "disk" / name).symlink_to(tmp_path / "mine")
    [path] = download(plan_files([server.remote()], tmp_path / "files"))
    assert path.read_bytes() == CONTENT
    assert [file.name for file in (tmp_path / "disk").iterdir()] == ["a.tar.gz"]
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.parametrize("change", ["other file", "no ranges", "no validator", "too long"])
def test_a_part_that_cannot_be_resumed_is_downloaded_again(server: Server, tmp_path: Path, change: str) -> None:
    stop_early(server, tmp_path)
    if change == "other file":
        server.files["a.tar.gz"], server.tag = CONTENT[::-1], '"two"'
    elif change == "no ranges":
        server.ranges = False
    elif change == "no validator":
        (tmp_path / "a.tar.gz.part.json").write_text("{")
    else:
        (tmp_path / "a.tar.gz.part").write_bytes(CONTENT + b"more")
    (path,) = download(plan_files([server.remote()], tmp_path))
    assert path.read_bytes() == server.files["a.tar.gz"]


@pytest.mark.parametrize("stays", ["300000", "1000000"])
def test_what_a_power_cut_may_have_lost_is_downloaded_again(server: Server, tmp_path: Path, stays: str) -> None:
    part, note = tmp_path / "a.tar.gz.part", tmp_path / "a.tar.gz.part.json"
    part.write_bytes(CONTENT[:200_000] + bytes(int(stays) - 200_000))  # names survive, zeros stand for content
    note.write_text('{"validator": "\\"one\\"", "size": 200000}')
    (tmp_path / ".a.tar.gz.part.7.partial.json").write_text("{")  # of a process that was killed
    plan = plan_files([server.remote()], tmp_path)
    assert plan.remaining == 800_000
    (path,) = download(plan)
    assert path.read_bytes() == CONTENT
    assert gets(server) == ["bytes=200000-"]
    assert [file.name for file in tmp_path.iterdir()] == ["a.tar.gz"]


def test_no_power_cut_loses_what_is_named(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_SIZE", 1 << 16)
    monkeypatch.setattr(module, "BYTES_BETWEEN_SYNCS", 1 << 18)
    disk = tmp_path / "disk"
    disk.mkdir()
    plan = plan_files([server.remote()], disk)
    with watched_disk(disk) as watched:
        download(plan)
    assert watched.cuts[-1] == {"a.tar.gz": CONTENT}
    begun = 0
    for number, cut in enumerate(watched.cuts):
        assert cut.get("a.tar.gz") in (None, CONTENT)
        root = tmp_path / str(number)
        restore(cut, root)
        server.requests.clear()
        (path,) = download(plan_files([server.remote()], root))
        assert path.read_bytes() == CONTENT
        begun += any(gets(server))  # some went on in the middle
    assert begun


def test_a_note_of_an_older_version_goes_on(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz.part").write_bytes(CONTENT[:300_000])
    (tmp_path / "a.tar.gz.part.json").write_text('"\\"one\\""')
    (path,) = download(plan_files([server.remote()], tmp_path))
    assert path.read_bytes() == CONTENT
    assert gets(server) == ["bytes=300000-"]


def test_a_size_that_changes_between_plan_and_download(server: Server, tmp_path: Path) -> None:
    plan = plan_files([server.remote()], tmp_path)
    server.files["a.tar.gz"] = CONTENT[:-1]
    with pytest.raises(AstSegError, match="999999 bytes"):
        download(plan)


@pytest.mark.parametrize("text", ["{} *a.tar.gz\n", "MD5 (a.tar.gz) = {}\n", "{}"])
def test_a_published_checksum(server: Server, tmp_path: Path, text: str) -> None:
    server.files["a.md5"] = text.format(hashlib.md5(CONTENT).hexdigest()).encode()
    (path,) = download(plan_files([server.remote(md5="a.md5")], tmp_path))
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "words"), [("0" * 32, "damaged"), ("none", "but holds 0"), (None, "Cannot download")]
)
def test_a_checksum_that_is_wrong_or_missing(server: Server, tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        server.files["a.md5"] = content.encode()
    with pytest.raises(AstSegError, match=words):
        download(plan_files([server.remote(md5="a.md5")], tmp_path))
    assert not any(tmp_path.glob("*"))


def test_a_server_that_refuses(server: Server, tmp_path: Path) -> None:
    plan = plan_files([server.remote()], tmp_path)
    server.status = 403
    with pytest.raises(AstSegError, match="403"):
        download(plan)
    assert len(gets(server)) == 1
    with pytest.raises(AstSegError, match="does not answer"):
        plan_files([server.remote()], tmp_path)
    server.status = 503
    server.requests.clear()
    with pytest.raises(AstSegError, match="503"):
        download(plan)
    assert len(gets(server)) == module.MAX_ATTEMPTS


def test_without_a_server_only_present_files_are_known(tmp_path: Path) -> None:
    with pytest.raises(AstSegError, match="does not answer"):
        plan_files([RemoteFile(NO_SERVER)], tmp_path)
    (tmp_path / "a.tar").write_bytes(CONTENT)
    assert download(plan_files([RemoteFile(NO_SERVER)], tmp_path)) == [tmp_path / "a.tar"]


def test_too_little_disk_space(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=module.MIN_FREE_BYTES + 999_999))
    with pytest.raises(AstSegError, match=r"\d MB remain .* only 6\d\.\d MB are free"):
        plan_files([server.remote()], tmp_path / "not" / "yet")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=module.MIN_FREE_BYTES + 1_000_000))
    plan_files([server.remote()], tmp_path)


def test_a_folder_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    plan = plan_files([server.remote()], tmp_path)
    (tmp_path / "file").write_text("")
    blocked = module.DownloadPlan(tmp_path / "file", plan.files)
    with pytest.raises(AstSegError, match=r"Cannot write .*/file: File exists"):
        download(blocked)


@pytest.mark.parametrize("text", ["abc", "-5", "1e6", "9" * 5000, "²", ""])
def test_a_length_that_is_no_number(server: Server, tmp_path: Path, text: str) -> None:
    plan = plan_files([server.remote()], tmp_path)
    server.length = text or " "
    with pytest.raises(AstSegError, match="says its server"):
        plan_files([server.remote()], tmp_path)
    with pytest.raises(AstSegError, match="says its server"):
        download(plan)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bytes 0-999999/1000000",
        "bytes 300001-999999/1000000",
        "bytes 300000-999999/2000000",
        "bytes */1000000",
        "x",
    ],
)
def test_another_range_than_the_requested_one(server: Server, tmp_path: Path, text: str) -> None:
    stop_early(server, tmp_path)
    server.range = text
    with pytest.raises(AstSegError, match="was asked for its bytes from 300000 to 999999"):
        download(plan_files([server.remote()], tmp_path))
    assert (tmp_path / "a.tar.gz.part").read_bytes() == CONTENT[:300_000]


def test_an_endless_answer_is_cut_off(server: Server, tmp_path: Path) -> None:
    plan = plan_files([server.remote()], tmp_path)
    server.endless = True
    with pytest.raises(AstSegError, match="sends more than the 1000000 bytes"):
        download(plan)
    assert (tmp_path / "a.tar.gz.part").stat().st_size <= 1_000_000
    assert not (tmp_path / "a.tar.gz").exists()


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("size", [None, 1_200_000])
def test_a_file_of_unknown_length(server: Server, tmp_path: Path, chunked: bool, size: int | None) -> None:
    server.chunked, server.tells_length = chunked, False
    plan = plan_files([server.remote(size=size)], tmp_path)
    assert (plan.size, plan.remaining) == (size or 0, size or 0)
    seen: list[tuple[str, int, int | None]] = []
    (path,) = download(plan, lambda *what: seen.append(what))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == ("a.tar.gz", 1_000_000, None)
    assert [file.name for file in tmp_path.iterdir()] == ["a.tar.gz"]
    checked = "its size (about the published one)" if size else "only that it came to an end"
    assert plan.files[0].verification.startswith(f"{checked}; its content is NOT verified")


def test_a_file_of_unknown_length_begins_anew(server: Server, tmp_path: Path) -> None:
    stop_early(server, tmp_path)  # while its length was told
    server.chunked = True
    plan = plan_files([server.remote()], tmp_path)
    server.drop_after = [400_000]
    with pytest.raises(AstSegError, match=r"The download of http.*a\.tar\.gz broke off: IncompleteRead"):
        download(plan)
    assert not any(tmp_path.glob("*"))
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "a.tar.gz.part").write_bytes(CONTENT[::-1])  # of a process that was killed
    (path,) = download(plan_files([server.remote()], tmp_path))
    assert path.read_bytes() == CONTENT
    assert set(gets(server)) == {None}


def test_what_a_file_of_unknown_length_is_held_against(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.tells_length = False
    with pytest.raises(AstSegError, match=r"should have about 2000000 bytes, but what came has 1000000\. "):
        download(plan_files([server.remote(size=2_000_000)], tmp_path))
    server.files["a.md5"] = b"0" * 32
    with pytest.raises(AstSegError, match="was damaged"):
        download(plan_files([server.remote(md5="a.md5")], tmp_path))
    plans = [plan_files([server.remote(size=size)], tmp_path) for size in (2_000_000, None)]
    server.endless = True
    monkeypatch.setattr(module, "MAX_UNKNOWN_BYTES", 3_000_000)
    for plan in plans:
        with pytest.raises(AstSegError, match=r"has more than it should; at most 0\.0 GB are fetched"):
            download(plan)
    server.endless, server.files["a.tar.gz"] = False, b""
    with pytest.raises(AstSegError, match="is empty: what came has 0 bytes"):
        download(plan_files([server.remote()], tmp_path))
    assert not any(tmp_path.glob("*"))


def test_too_little_disk_space_for_the_published_size(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.tells_length = False
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=module.MIN_FREE_BYTES + 1_000_000))
    with pytest.raises(AstSegError, match=r"\d MB remain .* only 6\d\.\d MB are free"):
        plan_files([server.remote(size=1_200_000)], tmp_path)


def test_the_command_says_that_a_length_is_unknown(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files["clevrtex_camo.tar.gz"], server.chunked = CONTENT, True
    mirror = f"http://127.0.0.1:{server.server_port}"
    assert run(app, ["data", "download", "clevrtex-camo", str(tmp_path / "d"), "--mirror", mirror]) == 0
    assert (tmp_path / "d" / "clevrtex_camo.tar.gz").read_bytes() == CONTENT
    assert "does not say how large clevrtex_camo.tar.gz is" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("size", "right"), [(1_200_000, True), (850_000, True), (2_000_000, False), (500, False)])
def test_the_published_size_vouches_for_the_servers(server: Server, tmp_path: Path, size: int, right: bool) -> None:
    if right:
        assert plan_files([server.remote(size=size)], tmp_path).size == 1_000_000
        return
    with pytest.raises(AstSegError, match=f"should have about {size} bytes, but its server says 1000000"):
        plan_files([server.remote(size=size)], tmp_path)
    (tmp_path / "a.tar.gz").write_bytes(CONTENT)
    server.tells_length = False
    with pytest.raises(AstSegError, match=r"but .*a\.tar\.gz has 1000000"):
        plan_files([server.remote(size=size)], tmp_path)


def test_what_vouches_for_the_published_files() -> None:
    words = {
        name: {PlannedFile(file, 0, 0).verification for file in benchmark.files}
        for name, benchmark in BENCHMARKS.items()
        if benchmark.files
    }
    assert all("NOT verified" in text for name, texts in words.items() if name != "shapestacks" for text in texts)
    (shapestacks,) = words["shapestacks"]
    assert "shows damage, not an exchange, as both come unencrypted" in shapestacks
    unsized = {file.name for benchmark in BENCHMARKS.values() for file in benchmark.files if file.size is None}
    assert unsized == {"clevrtex_camo.tar.gz", "shapestacks-iseg.tar.gz"}


@pytest.mark.parametrize("kept", ["[1]", '"a\\nX-Evil: 1"', "[" * 200_000, '{"a": 1}'])
def test_a_validator_that_is_none_begins_anew(server: Server, tmp_path: Path, kept: str) -> None:
    stop_early(server, tmp_path)
    (tmp_path / "a.tar.gz.part.json").write_text(kept)
    (path,) = download(plan_files([server.remote()], tmp_path))
    assert path.read_bytes() == CONTENT
    assert gets(server) == [None]


@pytest.mark.parametrize("tag", ['"café"', '"\x1b[31m"', '"\x85"', "\t"])
def test_a_tag_that_cannot_be_sent_back_is_none(server: Server, tmp_path: Path, tag: str) -> None:
    server.tag = tag
    assert download(plan_files([server.remote()], tmp_path / "whole"))[0].read_bytes() == CONTENT
    assert gets(server) == [None]
    server.drop_after = [300_000]
    server.requests.clear()
    assert download(plan_files([server.remote()], tmp_path / "broken"))[0].read_bytes() == CONTENT
    assert gets(server) == [None, "bytes=300000-"]


@pytest.mark.parametrize("lost", ["the note", "what came before"])
def test_rounds_that_gain_nothing_end(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    plan = plan_files([server.remote()], tmp_path)
    pauses: list[float] = []
    monkeypatch.setattr(module, "RETRY_DELAY", 1.0)
    monkeypatch.setattr("time.sleep", pauses.append)
    if lost == "the note":
        monkeypatch.setattr(DownloadPart, "read_note", lambda part: None)
    else:  # each answer is from the beginning, now a little longer, now a little shorter
        server.ranges = False
        server.drop_after = [300_000, 200_000] * 50
    with pytest.raises(AstSegError, match=r"Cannot download .*Run the download again to resume it"):
        download(plan)
    assert pauses == [*([0.0] if lost != "the note" else []), 1.0, 2.0, 3.0, 4.0]
    assert len(gets(server)) == len(pauses) + 1


def test_by_name_from_a_mirror(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = BENCHMARKS["shapestacks"]
    small = tuple(replace(file, size=4) for file in published.files)
    monkeypatch.setattr(module, "get_benchmark", lambda name: replace(published, files=small))
    for part in ("meta", "rgb", "iseg"):
        server.files[f"mirror/shapestacks-{part}.tar.gz"] = part.encode()
        server.files[f"mirror/shapestacks-{part}.md5"] = hashlib.md5(part.encode()).hexdigest().encode()
    mirror = f"http://127.0.0.1:{server.server_port}/mirror/"
    paths = download(plan_download("shapestacks", tmp_path, mirror=mirror))
    assert [path.read_bytes() for path in paths] == [b"meta", b"rgb", b"iseg"]


def test_names_without_an_address(tmp_path: Path) -> None:
    with pytest.raises(AstSegError, match="No address"):
        plan_download("clevrtex-pbg", tmp_path)
    with pytest.raises(AstSegError, match="cats"):
        plan_download("cats", tmp_path)
