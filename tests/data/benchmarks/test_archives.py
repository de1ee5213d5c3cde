import bz2
import gzip
import io
import lzma
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.data.benchmarks import formats

from astseg._core.errors import AstSegError
from astseg.data.benchmarks import archives
from astseg.data.benchmarks.archives import ArchiveSource, open_sources

FILES = {f"folder/{i:03d}.bin": bytes([i]) * (997 * i % 5000) for i in range(40)}


def contents(source: ArchiveSource, advance: Callable[[int], None] | None = None) -> dict[str, bytes]:
    return {member.name: member.read() for member in source.members(advance)}


@pytest.fixture
def archive() -> bytes:
    return gzip.compress(formats.tar(FILES))


def test_a_folder(tmp_path: Path) -> None:
    (source,) = open_sources([formats.unpack(tmp_path, FILES)])
    assert source.size == 0
    assert contents(source) == FILES
    assert list(contents(source)) == sorted(FILES)


def test_links_in_a_folder_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    formats.unpack(tmp_path / "elsewhere", FILES)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "again").symlink_to(tmp_path / "set")
    (source,) = open_sources([tmp_path / "set"])
    assert contents(source) == {f"link/{name}": data for name, data in FILES.items()}


def test_an_archive_compressed_or_not(tmp_path: Path, archive: bytes) -> None:
    (tmp_path / "a.tar.gz").write_bytes(archive)
    (tmp_path / "a.tar").write_bytes(formats.tar(FILES))
    for name in ("a.tar.gz", "a.tar"):
        (source,) = open_sources([tmp_path / name])
        read: list[int] = []
        assert contents(source, read.append) == FILES
        assert source.size == (tmp_path / name).stat().st_size
        assert 0 < sum(read) <= source.size


def test_separate_archives_are_separate_sources(tmp_path: Path, archive: bytes) -> None:
    paths = [tmp_path / f"part{i}.tar.gz" for i in (1, 2)]
    for path in paths:
        path.write_bytes(archive)
    sources = open_sources(paths)
    assert [source.paths for source in sources] == [(paths[0],), (paths[1],)]
    assert all(contents(source) == FILES for source in sources)


@pytest.mark.parametrize("pieces", [2, 5])
def test_pieces_of_one_archive(tmp_path: Path, archive: bytes, pieces: int) -> None:
    step = -(-len(archive) // pieces)
    paths = []
    for i in range(pieces):
        paths.append(tmp_path / f"part{i}.tar.gz")
        paths[-1].write_bytes(archive[i * step : (i + 1) * step])
    (source,) = open_sources(paths)
    assert source.paths == tuple(paths)
    assert source.size == len(archive)
    assert contents(source) == FILES


def test_pieces_that_were_compressed_one_by_one(tmp_path: Path) -> None:
    content = formats.tar(FILES)
    third = -(-len(content) // 3)
    paths = [tmp_path / f"part{i}.tar.gz" for i in range(3)]
    for i, path in enumerate(paths):
        path.write_bytes(gzip.compress(content[i * third : (i + 1) * third]))
    (source,) = open_sources(paths)
    assert contents(source) == FILES


def test_a_missing_piece(tmp_path: Path, archive: bytes) -> None:
    half = len(archive) // 2
    (tmp_path / "a").write_bytes(archive[:half])
    (tmp_path / "b").write_bytes(archive[half:])
    (source,) = open_sources([tmp_path / "a"])
    with pytest.raises(AstSegError, match="archive a is damaged"):
        contents(source)
    with pytest.raises(AstSegError, match="tar archive"):
        open_sources([tmp_path / "b"])


def test_a_damaged_archive(tmp_path: Path, archive: bytes) -> None:
    (tmp_path / "a").write_bytes(archive[:300] + bytes(60) + archive[360:])
    (source,) = open_sources([tmp_path / "a"])
    with pytest.raises(AstSegError, match="damaged"):
        contents(source)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("damage", ["header", "end", "all that follows"])
def test_a_damaged_header_does_not_end_the_archive(
    tmp_path: Path, damage: str, compress: Callable[[bytes], bytes]
) -> None:
    content = formats.tar(FILES)
    middle = content.index(b"folder/020.bin")
    changed = {
        "header": content[:middle] + b"\x55" * 100 + content[middle + 100 :],
        "end": content.rstrip(b"\0") + bytes(-len(content.rstrip(b"\0")) % 512),
        "all that follows": content[:middle],
    }
    (tmp_path / "a").write_bytes(compress(changed[damage]))
    (source,) = open_sources([tmp_path / "a"])
    with pytest.raises(AstSegError, match="archive a is damaged"):
        contents(source)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_what_is_cut_between_two_files_is_told_from_what_is_whole(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    content = formats.tar(FILES)
    end = len(content.rstrip(b"\0"))
    end += -end % tarfile.BLOCKSIZE
    cut = content.index(b"folder/020.bin")
    (tmp_path / "b").write_bytes(compress(content[cut:]))  # begins as an archive of its own does
    for size in (cut, end):
        (tmp_path / "a").write_bytes(compress(content[:size]))
        first, _ = open_sources([tmp_path / "a", tmp_path / "b"])
        with pytest.raises(AstSegError, match=r"archive a is damaged .*no mark of its end.* join it .*name the folder"):
            contents(first)
    for zeros in (1, 2, 3):
        (tmp_path / "a").write_bytes(compress(content[: end + zeros * tarfile.BLOCKSIZE]))
        (source,) = open_sources([tmp_path / "a"])
        assert contents(source) == FILES


def test_only_files_are_read_and_nothing_is_written(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (("../out", tarfile.REGTYPE), ("link", tarfile.SYMTYPE), ("folder", tarfile.DIRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    (source,) = open_sources([tmp_path / "a.tar"])
    assert contents(source) == {"../out": b""}
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]
    assert not (tmp_path.parent / "out").exists()


def test_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(AstSegError, match="does not exist"):
        open_sources([tmp_path / "none"])


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_long_name_is_not_read(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, 3 << 30
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    (source,) = open_sources([tmp_path / "a.tar"])
    tracemalloc.start()
    with pytest.raises(AstSegError, match="a name of 3221225472 bytes"):
        contents(source)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize("size", [1 << 40, 1 << 80])
@pytest.mark.parametrize("claimed_by", ["header", "pax"])
def test_a_member_that_claims_more_than_there_is_ends_with_the_file(
    tmp_path: Path, size: int, claimed_by: str, compress: Callable[[bytes], bytes]
) -> None:
    member = tarfile.TarInfo("x")
    if claimed_by == "header":
        member.size = size
        header = member.tobuf(tarfile.GNU_FORMAT)
    else:
        member.pax_headers = {"size": str(size)}
        header = member.tobuf(tarfile.PAX_FORMAT)
    (tmp_path / "a.tar").write_bytes(compress(header + bytes(2048)))
    (source,) = open_sources([tmp_path / "a.tar"])
    with pytest.raises(AstSegError, match=r"archive a.tar is damaged or truncated \(unexpected end of data\)"):
        for _ in source.members():
            pass


@pytest.mark.parametrize("content", [bz2.compress(formats.tar(FILES)), lzma.compress(formats.tar(FILES)), b""])
def test_what_is_no_tar_archive_is_to_be_unpacked(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(AstSegError, match=r"a does not start like a tar archive, .*, unpack it and name"):
        open_sources([tmp_path / "a"])


def test_long_names_one_after_the_other(tmp_path: Path) -> None:
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 5
    (tmp_path / "a.tar").write_bytes((member.tobuf(tarfile.GNU_FORMAT) + b"name\0".ljust(512, b"\0")) * 2000)
    (source,) = open_sources([tmp_path / "a.tar"])
    with pytest.raises(AstSegError, match="damaged or truncated"):
        contents(source)


def test_names_of_usual_length(tmp_path: Path) -> None:
    long = {"folder/" * 30 + "a.bin": b"1"}
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
            for name, data in long.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        (source,) = open_sources([tmp_path / "a.tar"])
        assert contents(source) == long


def test_a_large_member_is_only_read_if_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBER_SIZE", 10)
    files = {"large": b"x" * 11, "small": b"x" * 10}
    (tmp_path / "a.tar").write_bytes(formats.tar(files))
    formats.unpack(tmp_path / "folder", files)
    for place in (tmp_path / "a.tar", tmp_path / "folder"):
        (source,) = open_sources([place])
        for member in source.members():
            if member.name == "small":
                assert member.read() == files["small"]
            else:
                with pytest.raises(ValueError, match="11 bytes"):
                    member.read()


def test_pipes_and_devices_are_left_out(tmp_path: Path) -> None:
    formats.unpack(tmp_path / "set", {"a": b"1"})
    os.mkfifo(tmp_path / "set" / "b")
    (tmp_path / "set" / "c").symlink_to("b")
    (tmp_path / "set" / "d").symlink_to("/dev/zero")
    (source,) = open_sources([tmp_path / "set"])
    assert contents(source) == {"a": b"1"}
    with pytest.raises(AstSegError, match="is a pipe"):
        open_sources([tmp_path / "set" / "b"])
