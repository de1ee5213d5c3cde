"""Generate whole stores of images, in several processes."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import partial
from itertools import chain, islice
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, TypeAlias

import torch

from astseg._core.errors import AstSegError, wrong_argument
from astseg.data.catalog import GENERATOR
from astseg.data.scenes.generation import (
    INDICES_PER_SPLIT,
    Scenes,
    check_seed_and_indices,
    checked_device,
    checked_size,
    render,
    split_indices,
)
from astseg.data.scenes.materials.images import TextureFolder
from astseg.data.scenes.scene_sets import get_scene_set
from astseg.data.store import Store
from astseg.data.store_writer import StoreWriter

IMAGES_PER_TASK = 16
IMAGES_PER_TASK_CUDA = 256

MAX_TASKS_PER_WORKER = 3
"""Maximum number of waiting or running tasks per worker."""

MIN_IMAGES_FOR_WORKERS = 96
"""Fewer images than this are rendered before a worker would have started."""

_Job: TypeAlias = Callable[[], Scenes]


def make_store(
    path: Path | str,
    name: str,
    counts: Mapping[str, int],
    seed: int = 0,
    image_size: int | None = None,
    workers: int | None = None,
    device: torch.device | str = "cpu",
    progress: Callable[[int], None] | None = None,
    textures: TextureFolder | None = None,
) -> Store:
    """Generate a data set with its splits as a store.

    The splits' random streams are disjoint, and a smaller split is the beginning of a larger one of the same name.
    With more than one worker, a script that calls this must guard its entry point with `if __name__ == "__main__":`,
    because the workers import it.

    Args:
        path: the store's folder, which must not exist.
        name: one of SCENES, or the data set that it resembles.
        counts: number of images by split, such as {"train": 4000, "test": 500}.
        seed: 0 to 2^64 - 1.
        image_size: height and width in pixels, a multiple of 8 from 32 to 512; None for the data set's own.
        workers: number of processes, each with one thread; None for one per core. A GPU is used by this process alone.
        device: the device to render on.
        progress: called with the number of images just finished.
        textures: the user's images to take as materials in all splits; None for the data set's own.

    Raises:
        TypeError: the counts are something else.
        ValueError: a split cannot have its name.
        AstSegError: an argument is invalid, or the folder is in use.
    """
    if not isinstance(counts, Mapping):
        raise wrong_argument("make_store takes the number of images of each split, such as {'train': 4000}", counts)
    chosen = get_scene_set(name)
    if textures is not None:
        chosen.dressed_in(textures.images)
    size = checked_size(chosen, image_size)
    check_seed_and_indices(seed, ())
    device = checked_device(device)
    _check_counts(counts)
    if workers is not None and workers < 1:
        raise AstSegError(f"At least one worker is needed, not {workers}.")
    protocol = (
        f"{chosen.name} version {chosen.version}, seed {seed}, {size} x {size} pixels, 2 x 2 samples a pixel, "
        f"masks by majority of the samples{f', {textures.description}' if textures else ''}"
    )
    details: dict[str, Any] = {"name": chosen.name, "version": chosen.version, "seed": seed}
    if textures:
        details["textures"] = textures.identity
    writer = StoreWriter(path, (size, size), GENERATOR, protocol, details)
    at_once = IMAGES_PER_TASK if device.type == "cpu" else IMAGES_PER_TASK_CUDA
    tasks = {split: _tasks(split, count, at_once) for split, count in counts.items()}
    jobs = [
        partial(render, chosen.name, seed, indices, size, device, textures)
        for indices in chain.from_iterable(tasks.values())
    ]
    alone = device.type != "cpu" or sum(counts.values()) < MIN_IMAGES_FOR_WORKERS
    processes = 1 if alone else min(workers or _num_cores(), len(jobs))
    rendered = _render_here(jobs) if processes == 1 else _render_in_workers(jobs, processes)
    # On any error, the workers end before the writer removes its files.
    with writer, closing(rendered):
        for split, its_tasks in tasks.items():
            with writer.split(split) as split_writer:
                for scenes in islice(rendered, len(its_tasks)):
                    split_writer.append(scenes.images, scenes.masks, scenes.shadows)
                    if progress:
                        progress(len(scenes.images))
    return Store(path)


def _check_counts(counts: Mapping[str, int]) -> None:
    """Raise for splits of no image, or of more than their random streams suffice for.

    Raises:
        AstSegError: a split has too few or too many, or there is none.
    """
    if not counts or min(counts.values()) < 1:
        raise AstSegError(f"Every split needs at least one image, but the counts are {dict(counts)}.")
    if max(counts.values()) > INDICES_PER_SPLIT:
        raise AstSegError(f"A split has at most {INDICES_PER_SPLIT} images, but the counts are {dict(counts)}.")


def _tasks(split: str, count: int, at_once: int) -> list[range]:
    """Return the split's indices in groups of at most `at_once`."""
    indices = split_indices(split, count)
    return [indices[start : start + at_once] for start in range(0, count, at_once)]


def _render_here(jobs: Sequence[_Job]) -> Generator[Scenes, None, None]:
    for job in jobs:
        yield job()


def _render_in_workers(jobs: Sequence[_Job], processes: int) -> Generator[Scenes, None, None]:
    """Render jobs in several processes, and yield the results in the jobs' order."""
    executor = ProcessPoolExecutor(processes, mp_context=_worker_context(), initializer=_start_worker)
    waiting: deque[Future[Scenes]] = deque()
    try:
        for job in jobs:
            waiting.append(executor.submit(job))
            if len(waiting) >= MAX_TASKS_PER_WORKER * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise AstSegError(
            "A rendering process ended unexpectedly. Is there enough memory? A script must guard its entry point "
            "with 'if __name__ == \"__main__\":'. With workers=1, no other process is needed."
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _worker_context() -> multiprocessing.context.BaseContext:
    """Let workers fork from a clean process that has imported this module once, or start afresh where none can fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    if threading.current_thread() is threading.main_thread():
        # The fork server inherits that Ctrl-C is ignored, so it prints no traceback while it still imports.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            forkserver.ensure_running()
        finally:
            signal.signal(signal.SIGINT, before)
    # A worker is forked once the server has imported. One that was asked for before, and whose parent was stopped
    # meanwhile, would miss the parent's queues and print a traceback; this one needs nothing of its parent.
    first = context.Process(target=_do_nothing)
    first.start()
    first.join()
    return context


def _do_nothing() -> None:
    """End at once."""


def _start_worker() -> None:
    # Ctrl-C reaches every process of the terminal, but only the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process once its parent is gone, however it ended; it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _num_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
