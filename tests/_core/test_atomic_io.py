import errno
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from filelock import FileLock
from tests.files import contents

from astseg._core import atomic_io
from astseg._core.atomic_io import (
    atomic_folder,
    atomic_write,
    cannot_write,
    growing_folder,
    lock_folder,
    remove_leftovers,
    restore_former,
    sibling_path,
    sync_tree,
    unlink_link,
)
from astseg._core.errors import AstSegError


def write_until(path: Path, interruption: BaseException) -> None:
    with atomic_write(path) as partial:
        partial.write_text("hal")
        raise interruption


def test_writes_into_a_new_folder(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "new" / "scores.json") as partial:
        assert partial.suffix == ".json"
        partial.write_text("whole")
    assert (tmp_path / "new" / "scores.json").read_text() == "whole"
    assert len(list((tmp_path / "new").iterdir())) == 1


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
def test_an_interruption_leaves_the_older_file_alone(tmp_path: Path, interruption: type[BaseException]) -> None:
    path = tmp_path / "page.html"
    path.write_text("older")
    with pytest.raises(interruption):
        write_until(path, interruption())
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    assert path.read_text() == "older"


def test_a_full_disk_raises_an_error(tmp_path: Path) -> None:
    with pytest.raises(AstSegError, match=r"page\.html: No space left"):
        write_until(tmp_path / "page.html", OSError(28, "No space left on device"))
    assert not list(tmp_path.iterdir())


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(AstSegError, match="Cannot write"), atomic_write(tmp_path / "runs" / "page.html"):
        pytest.fail("nothing to write to")


def test_a_file_behind_a_link_of_the_user_is_written(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "page.html").symlink_to(tmp_path / "disk" / "page.html")
    with atomic_write(tmp_path / "page.html", follow_link=True) as partial:
        partial.write_text("whole")
    assert (tmp_path / "page.html").is_symlink()
    assert [file.name for file in (tmp_path / "disk").iterdir()] == ["page.html"]


@pytest.mark.parametrize("leads_to", ["mine.html", "nowhere"])
def test_any_other_link_is_replaced_and_its_target_stays(tmp_path: Path, leads_to: str) -> None:
    (tmp_path / "mine.html").write_text("mine")
    (tmp_path / "page.html").symlink_to(leads_to)
    with atomic_write(tmp_path / "page.html", former=tmp_path / "former.html") as partial:
        partial.write_text("whole")
    assert not (tmp_path / "page.html").is_symlink()
    assert contents(tmp_path) == {"mine.html": b"mine", "page.html": b"whole"} | (
        {"former.html": b"mine"} if leads_to == "mine.html" else {}
    )


def replace_until(path: Path, interruption: BaseException) -> None:
    with atomic_folder(path, replace=True) as partial:
        assert not list(partial.iterdir())
        (partial / "weights").write_text("hal")
        raise interruption


class TestFolders:
    @pytest.fixture
    def older(self, tmp_path: Path) -> Path:
        path = tmp_path / "model"
        with atomic_folder(path) as partial:
            (partial / "weights").write_text("older")
        return path

    def test_a_new_folder_replaces_an_older_one(self, older: Path) -> None:
        with atomic_folder(older, replace=True) as partial:
            (partial / "weights").write_text("newer")
            assert (older / "weights").read_text() == "older"
        assert (older / "weights").read_text() == "newer"
        assert [path.name for path in older.parent.iterdir()] == ["model"]

    @pytest.mark.parametrize("interruption", [KeyboardInterrupt(), OSError(28, "No space left on device")])
    def test_an_interruption_leaves_the_older_one_alone(self, older: Path, interruption: BaseException) -> None:
        with pytest.raises((KeyboardInterrupt, AstSegError)):
            replace_until(older, interruption)
        assert (older / "weights").read_text() == "older"
        assert [path.name for path in older.parent.iterdir()] == ["model"]

    def test_an_interruption_between_the_two_renames(self, older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        rename = Path.rename

        def interrupted(self: Path, target: Path) -> Path:
            if self.parent.name == ".model.partial":
                raise KeyboardInterrupt
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt), atomic_folder(older, replace=True) as partial:
            (partial / "weights").write_text("newer")
        assert (older / "weights").read_text() == "older"
        assert (older.parent / ".model.partial" / "model" / "weights").read_text() == "newer"
        monkeypatch.undo()
        with pytest.raises(KeyboardInterrupt):
            replace_until(older, KeyboardInterrupt())
        assert [path.name for path in older.parent.iterdir()] == ["model"]

    def test_nothing_is_overwritten_by_default(self, older: Path) -> None:
        with pytest.raises(AstSegError, match="exists already"), atomic_folder(older):
            pytest.fail("nothing to write to")


@pytest.mark.parametrize("place", [".", "/", "..", "a/.."])
def test_a_path_should_end_in_a_name(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AstSegError, match="does not end in a name"):
        sibling_path(Path(place), "anything")
    with pytest.raises(AstSegError), atomic_folder(Path(place)):
        pytest.fail("nothing to write to")


def test_removes_leftovers_of_killed_processes(tmp_path: Path) -> None:
    for name in (".checkpoint.4711.partial.pt", ".backgrounds.1.partial.npy", "run.json", ".hidden"):
        (tmp_path / name).write_text("")
    (tmp_path / ".folder.partial").mkdir()  # a folder, not a file
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".folder.partial", ".hidden", "run.json"]


class TestLinksToOthersFolders:
    """What a link leads to is not emptied, whatever the link is called."""

    @pytest.fixture
    def mine(self, tmp_path: Path) -> Path:
        (tmp_path / "mine" / "deep").mkdir(parents=True)
        for name in ("a", "deep/b", ".lock"):
            (tmp_path / "mine" / name).write_text("mine")
        return tmp_path / "mine"

    @pytest.mark.parametrize("replace", [True, False])
    def test_in_place_of_the_folder_that_is_locked(self, mine: Path, replace: bool) -> None:
        before, link = contents(mine), mine.parent / ".model.partial"
        link.symlink_to("mine")
        with (
            pytest.raises(AstSegError, match=r"\.model\.partial should be a folder .*link to mine\. Remove the link"),
            atomic_folder(mine.parent / "model", replace=replace),
        ):
            pytest.fail("nowhere to write to")
        assert contents(mine) == before
        link.unlink()
        link.symlink_to("nowhere")
        with pytest.raises(AstSegError, match="link to nowhere"), lock_folder(link, mine.parent / "model"):
            pytest.fail("nothing to lock")
        assert not (mine.parent / "nowhere").exists()

    @pytest.mark.parametrize("replace", [True, False])
    @pytest.mark.parametrize("leads_to", ["mine", "nowhere"])
    def test_in_place_of_the_former_folder(self, mine: Path, leads_to: str, replace: bool) -> None:
        before, path = contents(mine), mine.parent / "model"
        (mine.parent / ".model.former").symlink_to(leads_to)
        with atomic_folder(path, replace=replace) as partial:
            (partial / "weights").write_text("newer")
        restore_former(path)
        assert contents(mine) == before
        assert contents(path) == {"weights": b"newer"}
        assert not path.is_symlink()

    @pytest.mark.parametrize("leads_to", ["mine", "nowhere"])
    def test_in_place_of_what_is_replaced(self, mine: Path, leads_to: str) -> None:
        before, path = contents(mine), mine.parent / "model"
        path.symlink_to(leads_to)
        with pytest.raises(KeyboardInterrupt):
            replace_until(path, KeyboardInterrupt())
        assert path.is_symlink()
        with atomic_folder(path, replace=True) as partial:
            (partial / "weights").write_text("newer")
        assert contents(mine) == before
        assert contents(path) == {"weights": b"newer"}
        assert not path.is_symlink()
        assert sorted(place.name for place in mine.parent.iterdir()) == ["mine", "model"]

    def test_in_the_folder_that_is_emptied(self, mine: Path) -> None:
        before = contents(mine)
        (mine.parent / ".model.partial").mkdir()
        (mine.parent / ".model.partial" / "model").symlink_to(mine)
        with atomic_folder(mine.parent / "model") as partial:
            (partial / "weights").write_text("newer")
        assert contents(mine) == before
        assert contents(mine.parent / "model") == {"weights": b"newer"}

    def test_in_place_of_a_file_that_is_written_in_place(self, mine: Path) -> None:
        (mine.parent / "link").symlink_to(mine / "a")
        unlink_link(mine.parent / "link")
        unlink_link(mine / "a")
        assert not (mine.parent / "link").is_symlink()
        assert (mine / "a").exists()


class TestTwoCommands:
    def test_the_second_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "masks"
        with atomic_folder(path) as partial:
            (partial / "labels").write_text("first")
            with pytest.raises(AstSegError, match="Another command"), atomic_folder(path):
                pytest.fail("the folder is taken")
        assert (path / "labels").read_text() == "first"
        assert [place.name for place in tmp_path.iterdir()] == ["masks"]

    def test_only_one_of_many_at_once_gets_the_lock(self, tmp_path: Path) -> None:
        inside: list[int] = []
        together: list[int] = []

        def work(number: int) -> None:
            for _ in range(50):
                # Python may see the folder, and then find it gone.
                with suppress(AstSegError), lock_folder(tmp_path / "run", tmp_path / "run"):
                    inside.append(number)
                    together.append(len(inside))
                    inside.remove(number)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert set(together) == {1}
        assert not (tmp_path / "run").exists()

    def test_a_killed_process_releases_the_lock(self, tmp_path: Path) -> None:
        script = (
            "import sys; from pathlib import Path; from astseg._core.atomic_io import atomic_folder\n"
            "with atomic_folder(Path(sys.argv[1])) as made:\n"
            "    (made / 'half').touch(); print(flush=True); input()"
        )
        started = [sys.executable, "-c", script, str(tmp_path / "masks")]
        with subprocess.Popen(started, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout
            other.stdout.readline()
            with pytest.raises(AstSegError, match="Another command"), atomic_folder(tmp_path / "masks"):
                pytest.fail("the folder is taken")
            other.kill()
            other.wait()
        assert (tmp_path / ".masks.partial" / "masks" / "half").exists()
        with atomic_folder(tmp_path / "masks") as made:
            (made / "labels").write_text("whole")
        assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["masks", "masks/labels"]

    def test_a_disk_without_locks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(number: int, how: int) -> None:
            raise OSError(errno.EBADF, "Bad file descriptor")

        monkeypatch.setattr("fcntl.flock", refused)
        with atomic_folder(tmp_path / "masks") as partial:
            (partial / "labels").write_text("whole")
        assert [path.name for path in tmp_path.iterdir()] == ["masks"]

    def test_a_folder_that_appeared_meanwhile_and_the_new_one_both_stay(self, tmp_path: Path) -> None:
        path = tmp_path / "masks"

        def made() -> None:
            with atomic_folder(path) as partial:
                (partial / "labels").write_text("made")
                path.mkdir()
                (path / "mine").write_text("by hand")

        with pytest.raises(AstSegError, match=r"result is in .*masks\."):
            made()
        assert [file.name for file in path.iterdir()] == ["mine"]
        assert (tmp_path / ".masks.partial" / "masks" / "labels").read_text() == "made"

    def test_the_first_ends_just_before_the_second_begins(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        acquire = FileLock.acquire

        def after_the_other(lock: FileLock) -> object:
            monkeypatch.setattr(FileLock, "acquire", acquire)
            with atomic_folder(tmp_path / "masks") as partial:
                (partial / "labels").write_text("first")
            return acquire(lock)

        monkeypatch.setattr(FileLock, "acquire", after_the_other)
        with pytest.raises(AstSegError, match="exists already"), atomic_folder(tmp_path / "masks"):
            pytest.fail("the folder is there already")
        assert (tmp_path / "masks" / "labels").read_text() == "first"

    def test_a_mounted_disk_cannot_be_replaced(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "masks").mkdir()
        monkeypatch.setattr("astseg._core.atomic_io.os.path.ismount", lambda path: path.name == "masks")
        with pytest.raises(AstSegError, match="is a mounted disk"), atomic_folder(tmp_path / "masks"):
            pytest.fail("nothing could take its place")
        assert [path.name for path in tmp_path.iterdir()] == ["masks"]

    def test_a_folder_removed_meanwhile_raises_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(AstSegError, match="Cannot write"), atomic_folder(tmp_path / "masks") as partial:
            shutil.rmtree(partial)


def test_a_users_folder_with_a_similar_name_stays(tmp_path: Path) -> None:
    (tmp_path / "masks.partial").mkdir()
    (tmp_path / "masks.partial" / "mine").write_text("by hand")
    with atomic_folder(tmp_path / "masks"):
        pass
    assert (tmp_path / "masks.partial" / "mine").exists()


def test_leftovers_are_removed_and_the_former_folder_is_restored(tmp_path: Path) -> None:
    for name in (".model.partial/deep", ".model.former"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "weights").write_text("older")
    (tmp_path / ".model.partial" / "weights").write_text("hal")
    with pytest.raises(KeyboardInterrupt):
        replace_until(tmp_path / "model", KeyboardInterrupt())
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "weights").read_text() == "older"


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_a_link(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "disk").mkdir()
    place = tmp_path / "disk" / "masks"
    if exists:
        place.mkdir()
    (tmp_path / "masks").symlink_to(place)
    with atomic_folder(tmp_path / "masks") as partial:
        (partial / "labels").write_text("whole")
    assert (tmp_path / "masks").is_symlink()
    assert (place / "labels").read_text() == "whole"


@pytest.mark.parametrize("name", ["loop", "loop/out"])
def test_a_link_that_leads_to_itself(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("pool")
    (tmp_path / "pool").symlink_to("loop")
    said = r"loop is a link that leads back to itself|Cannot write .*: (Too many levels|File exists)"
    for open_ in (atomic_folder, growing_folder, lambda path: atomic_write(path, follow_link=True)):
        with pytest.raises(AstSegError, match=said), open_(tmp_path / name):
            pytest.fail("nowhere to write to")


@pytest.mark.parametrize(
    ("named", "own"),
    [
        ("out", True),
        ("out/deep/a.png", True),
        (".out.partial/out/a.png", True),
        (".out.kept", True),
        (".", True),
        ("in/a.png", False),
        ("out2", False),
        (".outer", False),
        ("/proc/1/fd", False),
    ],
)
def test_what_could_not_be_read_is_not_said_of_the_output(tmp_path: Path, named: str, own: bool) -> None:
    (tmp_path / "link").symlink_to("out")
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / named))
    for name in ("out", "link"):
        blamed = f"Cannot write {tmp_path / name}" if own else f"Cannot read {tmp_path / named}"
        assert str(cannot_write(tmp_path / name, error)) == f"{blamed}: Permission denied."
    plain = PermissionError(errno.EACCES, "Permission denied")
    assert str(cannot_write(tmp_path / "out", plain)) == f"Cannot write {tmp_path / 'out'}: Permission denied."


def test_a_growing_folder_is_there_at_once_and_stays_after_an_error(tmp_path: Path) -> None:
    def fail() -> None:
        with growing_folder(tmp_path / "new" / "out") as folder:
            assert folder == tmp_path / "new" / "out"
            (folder / "a").touch()
            with pytest.raises(AstSegError, match="exists already"), growing_folder(folder):
                pass
            raise OSError(28, "No space left on device")

    with pytest.raises(AstSegError, match=r"Cannot write .*out: No space left on device"):
        fail()
    assert [path.name for path in (tmp_path / "new" / "out").iterdir()] == ["a"]


def test_a_growing_folder_needs_a_name_and_no_content(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, message in (
        (tmp_path, "exists already"),
        (tmp_path / "file", "exists already"),
        (Path(".."), "does not end in a name"),
    ):
        with pytest.raises(AstSegError, match=message), growing_folder(path):
            pass
    with growing_folder(tmp_path / "empty"):
        pass
    with growing_folder(tmp_path / "empty"):
        pass


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place where nothing can be made")
def test_a_lock_in_an_impossible_place_blames_no_other_command() -> None:
    with (
        pytest.raises(AstSegError, match=r"^Cannot write /proc/x: No such file or directory\.$"),
        lock_folder(Path("/proc/.x.partial"), Path("/proc/x")),
    ):
        pass


def test_all_files_of_a_tree_are_synchronized_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/b", "empty"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("one", *(f"a/b/{number}" for number in range(7))):
        (tmp_path / name).touch()
    done: list[Path] = []
    monkeypatch.setattr(atomic_io, "QUEUED_SYNCS", 3)
    monkeypatch.setattr(atomic_io, "sync", done.append)
    sync_tree(tmp_path)
    assert sorted(done) == [tmp_path, *sorted(tmp_path.rglob("*"))]
    assert len(done) == 12
    assert all(done.index(path) < done.index(path.parent) for path in done if path != tmp_path)
