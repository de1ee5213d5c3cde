"""What tests of the commands need: the command line itself, few steps, and tiny data."""

import io
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from astseg.cli import _progress, _training_progress, app
from astseg.cli._console import run
from astseg.cli._training_progress import TrainingBars
from astseg.training import time_budget
from astseg.training.state import TrainState


def call(*arguments: object) -> int:
    try:
        return run(app, [str(argument) for argument in arguments])
    finally:
        torch.set_flush_denormal(False)  # which a command sets for its process, and this one goes on


class Program:
    """Runs commands in this process, and keeps what the last one printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: object) -> int:
        """Run a command and return its exit code."""
        self._capsys.readouterr()
        code = call(*arguments)
        self.out, self.err = self._capsys.readouterr()
        return code

    def mistake(self, *arguments: object) -> str:
        """Run a command that must refuse its arguments, and return the message."""
        assert self(*arguments) == 2
        return " ".join(self.err.split())


@pytest.fixture
def astseg(capsys: pytest.CaptureFixture[str]) -> Program:
    return Program(capsys)


@pytest.fixture
def few_steps() -> Iterator[None]:
    """However little time there is, two steps are enough, with the same sums in the same order on any machine."""
    with _few_steps():
        yield


@contextmanager
def _few_steps() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time_budget, "MIN_STEPS", 2)
        patch.setattr(time_budget, "NUM_TIMED_STEPS", 2)
        yield
    torch.set_num_threads(threads)


def press_ctrl_c(*_: object, **__: object) -> None:
    signal.raise_signal(signal.SIGINT)


@contextmanager
def ctrl_c_after(steps: int = 1, times: int = 1) -> Iterator[None]:
    """Press Ctrl-C, once or more often, after a number of steps with a progress bar."""
    show, done = TrainingBars.on_step_end, 0

    def on_step_end(bars: TrainingBars, state: TrainState) -> None:
        nonlocal done
        done += 1
        show(bars, state)
        for _ in range(times if done == steps else 0):
            press_ctrl_c()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingBars, "on_step_end", on_step_end)
        yield


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., io.StringIO]:
    """Makes a terminal, or a file in its place, and shows the progress bars there."""

    def make(width: int = 80, terminal: bool = False) -> io.StringIO:
        text = io.StringIO()
        console = Console(file=text, width=width, force_terminal=terminal, color_system=None)
        for module in (_progress, _training_progress):
            monkeypatch.setattr(module, "messages", console)
        return text

    return make


@pytest.fixture
def little_room() -> Iterator[None]:
    """No file may grow beyond 20 kB, so that the system itself reports a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="session")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared rooms at 32x32, eight to learn from and four held out, with up to three objects. Not to be changed."""
    path = tmp_path_factory.mktemp("rooms") / "rooms"
    assert call("data", "make", "rooms", path, "--train", 8, "--test", 4, "--size", 32) == 0
    return path


@pytest.fixture(scope="session")
def finished(rooms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on the rooms, with K = 2. Not to be changed."""
    path = tmp_path_factory.mktemp("finished") / "run"
    with _few_steps():
        assert call("train", rooms, "--objects", 2, "--steps", 4, "--device", "cpu", "--out", path) == 0
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A nested folder of six images of several kinds and sizes with odd names, and a damaged one."""
    random = np.random.default_rng(0)
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    sizes = {"a[red]": (40, 40), "b": (60, 40), "c[]": (33, 47), "ü": (40, 40), "e": (48, 64), "f": (40, 40)}
    for index, (name, size) in enumerate(sizes.items()):
        file = folder / ("more" if index % 2 else "") / f"{name}.{'png' if index < 4 else 'jpg'}"
        Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(file)
    (folder / "broken[b].png").write_bytes(b"\x89PNG\r\n\x1a\nno more than this")
    return folder


@pytest.fixture
def masks_of_images(images: Path, tmp_path: Path) -> Path:
    """A folder of masks of the images, with the values 7 above and 1 below."""
    folder = tmp_path / "elsewhere"
    for file in [file for file in images.rglob("*.*g") if "broken" not in file.name]:
        with Image.open(file) as image:
            mask = np.ones((image.height, image.width), np.uint8)
        mask[:9] = 7
        place = folder / file.relative_to(images).with_suffix(".png")
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(place)
    return folder
