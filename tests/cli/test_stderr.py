import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import os, sys
from astseg.cli._stderr import keep_stderr
keep_stderr()
from astseg.cli._console import messages
with open(sys.argv[1], "w") as file:
    messages.print("Training ...")
    os.write(2, b"a warning of a library")
    file.write("all of it")
    file.flush()
    messages.print("... goes on")
print("done")
"""


def run(path: Path, stderr: int | None, before: str = "") -> subprocess.CompletedProcess[str]:
    command = ["sh", "-c", f'exec "$0" "$@" {before}', sys.executable, "-c", SCRIPT, str(path)]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False)


def test_goes_on_with_stderr_closed_from_the_start(tmp_path: Path) -> None:
    done = run(tmp_path / "file", None, "2>&-")
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert (tmp_path / "file").read_text() == "all of it", "without the warning, which went to nowhere"


def test_goes_on_when_the_reader_of_stderr_goes(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run(tmp_path / "file", writer)
    os.close(writer)
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert (tmp_path / "file").read_text() == "all of it"


def test_is_the_usual_one_otherwise(tmp_path: Path) -> None:
    done = run(tmp_path / "file", subprocess.PIPE)
    assert done.stderr == "Training ...\na warning of a library... goes on\n"
    assert done.returncode == 0
