"""Measure the scene generator: images per second and core for each set, in total and for each step.

    python benchmarks/scenes.py [--seconds 5] [--size 64] [rooms towers ...]

Times are the processor time of one thread, which a busy machine disturbs less than wall-clock time.
"""

import argparse
import time
from collections.abc import Callable

from astseg.data.scenes import SCENES, render
from astseg.data.scenes.generation import one_thread
from astseg.data.scenes.random_source import RandomSource
from astseg.data.scenes.rendering import shade_scenes, trace_scenes
from astseg.data.scenes.scene_sets import get_scene_set


def rate(work: Callable[[int], object], images: int, seconds: float) -> float:
    """Return the images per second and core of a function that makes ``images`` at once and takes the call's number."""
    work(0)  # to fill caches
    begin = time.process_time()
    calls = 0
    while time.process_time() - begin < seconds:
        calls += 1
        work(calls)
    return calls * images / (time.process_time() - begin)


def measure(name: str, size: int, seconds: float) -> tuple[float, float, float, float]:
    """Return images per second for all steps, drawing descriptions, tracing what is visible, and shading it."""
    chosen = SCENES[name]
    batch = max(1, 2**14 // size**2)  # as the generator does

    def draw(call: int) -> list[object]:
        return [chosen.compose(RandomSource(name, chosen.version, 0, call * batch + i)) for i in range(batch)]

    scenes = [chosen.compose(RandomSource(name, chosen.version, 0, index)) for index in range(batch)]
    visible = trace_scenes(scenes, size)
    return (
        rate(lambda call: render(name, 0, range(call * 16, call * 16 + 16), size), 16, seconds),
        rate(draw, batch, seconds / 4),
        rate(lambda _: trace_scenes(scenes, size), batch, seconds / 4),
        rate(lambda _: shade_scenes(visible), batch, seconds / 4),
    )


def main() -> None:
    """Print a row for each set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", metavar="set", help=f"from {', '.join(SCENES)} (default: all)")
    parser.add_argument("--seconds", type=float, default=5.0, help="processor time for each set")
    parser.add_argument("--size", type=int, help="side of the images in pixels (default: each set's own)")
    arguments = parser.parse_args()
    print("set        size  images/s/core      draw   trace   shade")
    with one_thread():
        for name in arguments.sets or SCENES:
            size = arguments.size or get_scene_set(name).image_size
            total, *steps = measure(name, size, arguments.seconds)
            print(f"{name:10} {size:4} {total:14.1f} {steps[0]:9.0f} {steps[1]:7.0f} {steps[2]:7.0f}", flush=True)


if __name__ == "__main__":
    main()
