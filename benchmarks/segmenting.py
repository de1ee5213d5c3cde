"""Measure where the time of ``astseg segment`` goes, and how long it takes to begin.

::

    python benchmarks/segmenting.py                                       # this version
    python benchmarks/segmenting.py --beside ../before/src --json it.json # and another one, in turns

Scenes as 640x480 JPEGs, 128x128 PNGs and a 320x240 video go through `segment_source` on one thread. Each step's time is
what its thread spent on the processor, without the steps inside it, so that other programs on the machine disturb it
little; the time on the clock stands beside it. Medians over the repeats, of which each is a process of its own.
"""

import argparse
import importlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

MODELS = ("clevr", "rooms")
STEPS = {
    "data.file_source:FileSource._samples": "decode",
    "data.video_source:VideoSource._samples": "decode",
    "inference.segmenting:from_uint8_images": "to floats",
    "model.segmentation:resized": "resize",
    "model.ast_seg:AstSeg.reconstruct_backgrounds": "network",
    "model.ast_seg:AstSeg.encode": "network",
    "model.ast_seg:AstSeg.render": "network",
    "model.segmentation:apply_label_rule": "label rule, model's size",
    "model.segmentation:fill_unused_slots": "label rule, model's size",
    "model.segmentation:enlarged_labels": "label rule, image's size",
    "model.label_rule.enlarging:enlarged_argmax": "enlarge, label",
    "inference.segmenting:describe_objects": "describe",
    "inference.writers:LabelWriter.append": "label PNG",
    "inference.writers:overlay": "color overlay",
    "inference.writers:OverlayWriter.append": "overlay JPEG",
    "inference.writers:VideoWriter.append": "video",
    "inference.writers:ObjectsWriter.append": "objects.json",
}
"""What is timed, and as which step."""
BEGINNINGS = {"a wrong path": ("/nowhere", 2), "the first mask": ("{one}", 0)}
"""What else ``astseg segment`` is given, and the exit status."""
SIDE = 128


class Stopwatch(threading.local):
    """Adds up the processor time of steps, without that of the steps inside them, which run in the same thread."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self._inside: list[float] = []

    @contextmanager
    def running(self, step: str) -> Iterator[None]:
        """Time the block as a step."""
        self._inside.append(0.0)
        start = time.thread_time()
        try:
            yield
        finally:
            spent = time.thread_time() - start
            self.seconds[step] += spent - self._inside.pop()
            if self._inside:
                self._inside[-1] += spent

    def timed(self, function: Callable[..., Any], step: str) -> Callable[..., Any]:
        """Return a function that is timed, and so is each item if it is a generator."""

        def call(*given: Any, **named: Any) -> Any:
            with self.running(step):
                result = function(*given, **named)
            return self._items(result, step) if isinstance(result, Iterator) else result

        return call

    def _items(self, items: Iterator[Any], step: str) -> Iterator[Any]:
        while True:
            with self.running(step):
                item = next(items, None)
            if item is None:
                return
            yield item


def measure(folder: Path) -> dict[str, dict[str, float]]:
    """Return the milliseconds an image of each step, for each model and kind of source, by the astseg on the path."""
    import torch

    from astseg.cli import _models
    from astseg.data.opening import open_source
    from astseg.inference.segmenting import segment_source

    torch.set_num_threads(1)
    open_model = getattr(_models, "open_segmenter", _models.open_model)  # other versions have only the second
    found = {}
    for name in MODELS:
        model = open_model(name, torch.device("cpu"))
        for place in sorted((folder / name).iterdir()):
            with TemporaryDirectory() as out:
                segment_source(model, open_source(place), Path(out, "warm"), batch_size=4)
                watch = Stopwatch(defaultdict(float))
                with ExitStack() as stack:
                    for target, step in STEPS.items():
                        module, _, attribute = target.partition(":")
                        *parents, last = attribute.split(".")
                        owner: Any = importlib.import_module(f"astseg.{module}")
                        for parent in parents:
                            owner = getattr(owner, parent)
                        timed = watch.timed(getattr(owner, last), step)
                        stack.enter_context(patch.object(owner, last, _as_method(timed)))
                    start, clock = time.process_time(), time.perf_counter()
                    images = segment_source(model, open_source(place), Path(out, "out"), batch_size=4).images
                    total, clock = time.process_time() - start, time.perf_counter() - clock
            steps = {step: watch.seconds[step] for step in dict.fromkeys(STEPS.values())}
            steps |= {"rest": total - sum(steps.values()), "all": total, "clock": clock}
            found[f"{name}, {place.name}"] = {step: 1000 * seconds / images for step, seconds in steps.items()}
    return found


def _as_method(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given, **named: function(*given, **named)


def write_sources(folder: Path, count: int) -> None:
    """Write scenes as each kind of source, by model."""
    import numpy as np
    from PIL import Image

    from astseg.data.scenes import make_store
    from astseg.data.video_writer import VideoWriter

    for name in MODELS:
        scenes = make_store(folder / f"{name}-store", name, {"test": count}, 5, SIDE, workers=1)["test"].images
        places = {kind: folder / name / kind for kind in ("128x128 PNG", "640x480 JPEG")}
        for place in places.values():
            place.mkdir(parents=True)
        with VideoWriter(folder / name / "320x240.mp4", Fraction(25)) as video:
            for index in range(count):
                image = Image.fromarray(np.array(scenes[index]))
                image.save(places["128x128 PNG"] / f"{index}.png")
                image.resize((640, 480)).save(places["640x480 JPEG"] / f"{index}.jpg", quality=90)
                video.append(np.array(image.resize((320, 240))))


def begin(words: tuple[str, ...], status: int, source: Path) -> tuple[float, float]:
    """Return the seconds on the processor and on the clock that a command takes."""
    before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "astseg", *words], env=_environment(source), capture_output=True, text=True, check=False
    )
    clock, after = time.perf_counter() - clock, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != status:
        raise SystemExit(f"astseg {' '.join(words)} should end with {status}, not {done.returncode}:\n{done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, clock


def _environment(source: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}


def compare(sources: dict[str, Path], count: int, repeats: int) -> dict[str, Any]:
    """Measure each version of astseg in turns; return medians by version."""
    runs: dict[str, list[dict[str, dict[str, float]]]] = {version: [] for version in sources}
    with TemporaryDirectory() as place:
        folder = Path(place, "sources")
        write_sources(folder, count)
        one = folder / MODELS[0] / "640x480 JPEG" / "0.jpg"
        for repeat in range(repeats):
            for version, source in sources.items():
                command = [sys.executable, __file__, "--measure", str(folder)]
                found = json.loads(subprocess.check_output(command, env=_environment(source)))
                for what, (word, status) in BEGINNINGS.items():
                    words = ("segment", MODELS[0], word.format(one=one), "--out", f"{place}/{version}-{repeat}-{what}")
                    spent, clock = begin(words, status, source)
                    found[what] = {"all": 1000 * spent, "clock": 1000 * clock}
                runs[version].append(found)
    return {
        version: {
            case: {step: statistics.median(run[case][step] for run in found) for step in steps}
            for case, steps in found[0].items()
        }
        for version, found in runs.items()
    }


def table(medians: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a table: of two versions, both and their ratio."""
    before, now = next(iter(medians.values())), medians["this"]
    cases = [case for case in now if case not in BEGINNINGS]
    yield "| ms an image | " + " | ".join(cases) + " |"
    yield "| --- |" + " ---: |" * len(cases)
    for step in now[cases[0]]:
        yield f"| {step} | " + " | ".join(_cell(before[case][step], now[case][step]) for case in cases) + " |"
    yield ""
    for case in BEGINNINGS:
        spent, clock = (_cell(before[case][key], now[case][key]) for key in ("all", "clock"))
        yield f"{case}: {spent} ms on the processor, {clock} on the clock"


def _cell(before: float, now: float) -> str:
    return f"{now:.1f}" if before == now else f"{before:.1f} → {now:.1f} ({before / max(now, 1e-3):.1f}x)"


def main() -> None:
    """Print the table, and write its numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, metavar="SRC", help="the src folder of another version")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the medians")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure)))
        return
    sources = {"before": options.beside} if options.beside else {}
    sources["this"] = Path(__file__).resolve().parents[1] / "src"
    medians = compare(sources, options.images, options.repeats)
    print(*table(medians), sep="\n")
    if options.json:
        facts = {"machine": platform.processor() or platform.machine(), "python": platform.python_version()}
        options.json.write_text(json.dumps({**facts, **medians}, indent=1) + "\n")


if __name__ == "__main__":
    main()
