"""How long slow features take: milliseconds an image from pixels to ground residuals, by backbone and size.

Run: python benchmarks/slow_features.py [--device cuda]. The median of interleaved repeats, one thread on a CPU.
"""

import argparse
import statistics
import time

import torch

from astseg.model.slow_features.features import SlowFeatureLayout, SlowFeatures

SIZES = (64, 128)
BATCH = 16
REPEATS = 5


def milliseconds(features: SlowFeatures, images: torch.Tensor) -> float:
    """Return the time that a batch takes, by image."""
    started = time.perf_counter()
    features(images)
    if images.device.type == "cuda":
        torch.cuda.synchronize(images.device)
    return 1000 * (time.perf_counter() - started) / len(images)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    device = torch.device(parser.parse_args().device)
    torch.set_num_threads(1)
    backbones = {name: SlowFeatures(SlowFeatureLayout(name)).to(device) for name in ("efficientnet-lite0", "filters")}
    for size in SIZES:
        images = torch.rand(BATCH, 3, size, size, device=device)
        times: dict[str, list[float]] = {name: [] for name in backbones}
        for _ in range(REPEATS + 1):  # the first warms up
            for name, features in backbones.items():
                times[name].append(milliseconds(features, images))
        for name, values in times.items():
            print(f"{size}x{size} {name}: {statistics.median(values[1:]):.1f} ms an image")


if __name__ == "__main__":
    main()
