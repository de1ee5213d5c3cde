"""What tests of the commands need: the command itself, few steps, and tiny things to work on."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
import torch
from PIL import Image

from astseg.cli import app
from astseg.cli._console import run
from astseg.cli._training_progress import TrainingBars
from astseg.training import time_budget as budget
from astseg.training.state import TrainState

Command: TypeAlias = Callable[..., int]


def call(*arguments: object) -> int:
    return run(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def astseg() -> Command:
    """Runs a command in this process, and returns its exit code."""
    return call


@pytest.fixture
def few_steps() -> Iterator[None]:
    """However little time there is, two steps are enough; and the same sums in the same order on any machine."""
    with _few_steps():
        yield


@contextmanager
def _few_steps() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget, "MIN_STEPS", 2)
        patch.setattr(budget, "NUM_TIMED_STEPS", 2)
        yield
    torch.set_num_threads(threads)


def interrupt_after(monkeypatch: pytest.MonkeyPatch, steps: int = 1, times: int = 1) -> None:
    """Press Ctrl-C when so many steps have been shown, once or more often; none are while they are timed."""
    show, done = TrainingBars.on_step_end, 0

    def on_step_end(bars: TrainingBars, state: TrainState) -> None:
        nonlocal done
        done += 1
        show(bars, state)
        for _ in range(times if done == steps else 0):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(TrainingBars, "on_step_end", on_step_end)


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
    """A nested folder of six images of several kinds and sizes, and a file that is no image, with odd names."""
    random = np.random.default_rng(0)
    folder = tmp_path / "images"
    (folder / "more").mkdir(parents=True)
    sizes = {"a[red]": (40, 40), "b": (60, 40), "c[]": (33, 47), "ü": (40, 40), "e": (48, 64), "f": (40, 40)}
    for index, (name, size) in enumerate(sizes.items()):
        file = folder / ("more" if index % 2 else "") / f"{name}.{'png' if index < 4 else 'jpg'}"
        Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(file)
    (folder / "broken[b].png").write_bytes(b"\x89PNG\r\n\x1a\nno more than this")
    return folder
