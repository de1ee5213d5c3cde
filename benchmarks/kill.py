"""Kill commands by SIGKILL at random moments, run them again, and compare the results with undisturbed ones by bits.

::

    python benchmarks/kill.py          # sixty kills: six minutes on a free core
    python benchmarks/kill.py 200      # more
    python benchmarks/kill.py 60 demo  # of one command

Every command runs in a process forked from one that has imported everything. Half of the kills come before a random
operation on files (opening to write, renaming, removing: Python's audit events count them), so that each save is met;
the others after a random time, which also meets the middle of writing and of computing. A command that was killed is
killed once more while it goes on, one time in three. Prints how often what was tried, and what was lost.
"""

import hashlib
import http.server
import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from astseg._core.settings_io import to_builtins
from astseg.data.benchmarks.registry import Benchmark, get_benchmark
from astseg.training.small_recipes import cpu_recipe

OPERATIONS = frozenset({"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"})
"""The audit events that are counted; files that are opened to be read are not."""
PRELOADED = ["astseg.cli", "astseg.training.run", "astseg.inference.segmenting", "astseg.data.importing"]
SIDE = 32
NUM_IMAGES = 12
SERVED_NAMES = ("meta", "rgb", "iseg")
SERVED_BYTES = 1 << 20
"""The size of each file that is downloaded."""
SERVED_BLOCK = 1 << 16
SECONDS_PER_BLOCK = 0.005


@dataclass(frozen=True)
class Scenario:
    """A command to kill."""

    name: str
    command: Callable[[Path], list[str]]
    """Its arguments, given a folder to work in."""
    results: tuple[str, ...]
    """Patterns of the files in the folder that must come out the same."""
    resume: Callable[[Path], list[str]] | None = None
    """How it goes on, if not by the same command."""


@dataclass
class Tally:
    """What happened to a command."""

    killed: int = 0
    held: int = 0
    lost: list[str] = field(default_factory=list)


def run_killed(
    arguments: list[str], *, operation: int = 0, seconds: float | None = None, log: Path = Path(os.devnull)
) -> tuple[int, int]:
    """Run a command of astseg and kill it.

    Args:
        arguments: those of the command.
        operation: the operation on files, counted from 1, before which it is killed; 0 for none.
        seconds: the time after which it is killed; None for none.
        log: the file to which it writes what it prints.

    Returns:
        Its exit code, -9 if it was killed; and how many operations on files it began.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_command, args=(arguments, operation, str(log), sender))
    process.start()
    sender.close()
    process.join(seconds)
    process.kill()
    process.join()
    code = process.exitcode
    assert code is not None
    begun = 0
    with suppress(EOFError):
        begun = receiver.recv()
    process.close()
    return code, begun


def _command(arguments: list[str], operation: int, log: str, sender: "multiprocessing.connection.Connection") -> None:
    import torch

    from astseg.cli import app
    from astseg.cli._console import run

    torch.set_num_threads(1)
    make_small()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    begun = 0

    def count(event: str, about: tuple[object, ...]) -> None:
        nonlocal begun
        if event in OPERATIONS and (event != "open" or _writes(about)):
            begun += 1
            if begun == operation:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    code = run(app, arguments)
    sender.send(begun)
    os._exit(code)


def _writes(about: tuple[object, ...]) -> bool:
    _, mode, flags = about
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def make_small() -> None:
    """Let commands whose sizes cannot be chosen take seconds, with the same steps every time."""
    from astseg.cli import demo
    from astseg.data.benchmarks import downloading
    from astseg.training import presets, time_budget

    recipe = presets.PRESETS["demo"].recipe
    recipe = replace(
        recipe,
        background=replace(recipe.background, steps=4, batch_size=4, exponent_ramp_start=0, exponent_ramp_steps=2),
        foreground=replace(recipe.foreground, steps=6, frozen_steps=3, batch_size=4),
    )

    def without_sizes(name: str) -> Benchmark:
        files = tuple(replace(file, size=None) for file in get_benchmark(name).files)
        return replace(get_benchmark(name), files=files)

    small = {**presets.PRESETS, "demo": replace(presets.PRESETS["demo"], recipe=recipe)}
    for module, values in (
        (presets, {"PRESETS": small}),
        (demo, {"NUM_TRAIN_IMAGES": 8, "NUM_TEST_IMAGES": 4, "NUM_FIRST_LOOK_IMAGES": 2}),
        (time_budget, {"MIN_STEPS": 6, "NUM_TIMED_STEPS": 2}),
        (downloading, {"CHUNK_SIZE": 1 << 16, "BYTES_BETWEEN_SYNCS": 1 << 18, "get_benchmark": without_sizes}),
    ):
        for name, value in values.items():
            setattr(module, name, value)


class _SlowServer(http.server.BaseHTTPRequestHandler):
    """Serves the files of ShapeStacks, or the rest of one, block by block."""

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        content, start = self._answer()
        with suppress(ConnectionError):  # the command was killed
            for at in range(start, len(content), SERVED_BLOCK):
                self.wfile.write(content[at : at + SERVED_BLOCK])
                time.sleep(SECONDS_PER_BLOCK)

    def _answer(self) -> tuple[bytes, int]:
        content = served(self.path.lstrip("/"))
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(match[1]) if match else 0
        self.send_response(206 if match else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", '"one"')
        if match:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        return content, start


def served(name: str) -> bytes:
    """Return the content of a file of the server."""
    part, kind = name.removeprefix("shapestacks-").split(".", 1)
    content = np.random.default_rng(SERVED_NAMES.index(part)).bytes(SERVED_BYTES)
    return hashlib.md5(content, usedforsecurity=False).hexdigest().encode() if kind == "md5" else content


@contextmanager
def local_server() -> Iterator[str]:
    """Serve the files to download; yield the address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _SlowServer) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def make_inputs(folder: Path) -> None:
    """Make a folder of images, a prepared store of them, a recipe of a few steps, and a trained run."""
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for number in range(NUM_IMAGES):
        image = np.full((SIDE, SIDE, 3), random.integers(30, 60, 3), np.uint8)
        y, x = random.integers(0, SIDE - 8, 2)
        image[y : y + 8, x : x + 8] = random.integers(150, 256, 3)
        Image.fromarray(image).save(folder / "images" / f"{number:02}.png")
    recipe = cpu_recipe((SIDE, SIDE), 2)
    recipe = replace(
        recipe,
        background=replace(recipe.background, steps=4, batch_size=4, exponent_ramp_start=0, exponent_ramp_steps=2),
        foreground=replace(recipe.foreground, steps=8, frozen_steps=4, batch_size=4, shadow_start=2),
    )
    (folder / "recipe.json").write_text(json.dumps(to_builtins(recipe)))
    for arguments in (
        ["data", "import", str(folder / "images"), "--out", str(folder / "store"), "--size", f"{SIDE}x{SIDE}"],
        _train(folder, folder),
    ):
        code, _ = run_killed(arguments, log=folder / "log")
        if code:
            raise RuntimeError((folder / "log").read_text())


def _train(inputs: Path, folder: Path) -> list[str]:
    options = ["--recipe", str(inputs / "recipe.json"), "--out", str(folder / "run"), "--device", "cpu"]
    return ["train", str(inputs / "store"), *options]


def scenarios(inputs: Path, server: str) -> list[Scenario]:
    """Return the commands to kill, with the first as the most important.

    Args:
        inputs: the folder of `make_inputs`.
        server: the address of `local_server`.
    """
    images, model = str(inputs / "images"), str(inputs / "run")

    def resume_train(folder: Path) -> list[str]:
        begun = (folder / "run" / "run.json").is_file()
        return ["train", "--resume", "--out", str(folder / "run")] if begun else _train(inputs, folder)

    def demo(folder: Path) -> list[str]:
        return ["demo", "--out", str(folder / "demo"), "--device", "cpu"]

    def resume_demo(folder: Path) -> list[str]:
        begun = (folder / "demo" / "data").is_dir()
        return [*demo(folder), "--resume"] if begun else demo(folder)

    segment = ["segment", model, images, "--batch-size", "2", "--device", "cpu"]
    learn = ["--minutes", "1e-4", "--size", f"{SIDE}x{SIDE}", "--device", "cpu"]
    return [
        Scenario("train", lambda folder: _train(inputs, folder), ("run/model/*", "run/backgrounds.npy"), resume_train),
        Scenario(
            "data import",
            lambda folder: ["data", "import", images, "--out", str(folder / "s"), "--size", f"{SIDE}x{SIDE}"],
            ("s/*",),
        ),
        Scenario(
            "data make",
            lambda folder: ["data", "make", "rooms", str(folder / "s"), "--train", "8", "--test", "2", "--size", "32"],
            ("s/*",),
        ),
        Scenario(
            "segment",
            lambda folder: [*segment, "--out", str(folder / "out")],
            ("out/**/*",),
        ),
        Scenario("export", lambda folder: ["export", model, "--out", str(folder / "out")], ("out/*",)),
        Scenario(
            "data download",
            lambda folder: ["data", "download", "shapestacks", str(folder / "d"), "--mirror", server],
            ("d/*",),
        ),
        Scenario(
            "background",
            lambda folder: ["background", images, "--out", str(folder / "b"), *learn],
            ("b/images/**/*", "b/run/model/*", "b/run/data/*"),
        ),
        Scenario("demo", demo, ("demo/model/*", "demo/data/*", "demo/first-look.png"), resume_demo),
    ]


def digest(folder: Path, patterns: tuple[str, ...]) -> str:
    """Return a hash of the names and bytes of files."""
    total = hashlib.sha256()
    for file in sorted(file for pattern in patterns for file in folder.glob(pattern) if file.is_file()):
        total.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return total.hexdigest()


def kill_often(scenario: Scenario, root: Path, kills: int, seed: int = 0) -> Tally:
    """Kill a command so many times, each in a new folder, and compare what comes out in the end."""
    random = np.random.default_rng((seed, len(scenario.name)))
    tally = Tally()
    whole = root / "whole"
    whole.mkdir(parents=True)
    begun = time.monotonic()
    code, operations = run_killed(scenario.command(whole), log=root / "log")
    took = time.monotonic() - begun
    if code:
        raise RuntimeError((root / "log").read_text())
    expected = digest(whole, scenario.results)
    for number in range(kills):
        folder, log = root / str(number), root / f"log-{number}"
        folder.mkdir()
        arguments = scenario.command(folder)
        for _ in range(2 if random.random() < 1 / 3 else 1):
            if number % 2:
                code, _ = run_killed(arguments, seconds=took * random.uniform(0.05, 1), log=log)
            else:
                code, _ = run_killed(arguments, operation=int(random.integers(1, operations + 1)), log=log)
            tally.killed += code == -signal.SIGKILL
            arguments = (scenario.resume or scenario.command)(folder)
        # A command without --resume refuses to write over its own result, if it was killed after that.
        if scenario.resume is not None or digest(folder, scenario.results) != expected:
            code, _ = run_killed(arguments, log=log)
        else:
            code = 0
        if code == 0 and digest(folder, scenario.results) == expected:
            tally.held += 1
            shutil.rmtree(folder)
        else:
            tally.lost.append(f"{scenario.name} {number}: exit code {code}, {log.read_text()[-500:]}")
    return tally


def main() -> None:
    """Kill the commands of the command line, by default all, and print the table."""
    kills, chosen = int(sys.argv[1]) if len(sys.argv) > 1 else 60, sys.argv[2:]
    with TemporaryDirectory() as name, local_server() as server:
        folder = Path(name)
        make_inputs(folder / "inputs")
        commands = [one for one in scenarios(folder / "inputs", server) if not chosen or one.name in chosen]
        print("command       tried  killed  held  lost")
        for number, scenario in enumerate(commands):
            share = kills // 2 // max(1, len(commands) - 1) + 1
            if number == 0:
                share = kills // 2 if len(commands) > 1 else kills
            tally = kill_often(scenario, folder / scenario.name.replace(" ", "-"), share)
            print(f"{scenario.name:13} {share:5}  {tally.killed:6}  {tally.held:4}  {len(tally.lost):4}", flush=True)
            for loss in tally.lost:
                print(loss)


if __name__ == "__main__":
    main()
