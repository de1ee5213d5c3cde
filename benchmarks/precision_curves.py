"""Train the paper's networks for a few hundred steps in float32 and in bfloat16, and print their losses side by side.

::

    python benchmarks/precision_curves.py segformer-b0 --steps 300

The images are generated rooms at 32x32; the background is AE-NE with the narrow channels. Each of the three phases has
as many steps. A line is the mean loss of a tenth of a phase: in float32, in bfloat16 from the same weights on the same
batches, and in float32 with another seed, which shows how much a curve varies anyway.
"""

import argparse
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import torch

from astseg.data.scenes import make_store
from astseg.data.store import Bytes
from astseg.model.architecture import Architecture
from astseg.model.features.build import FeatureNetwork
from astseg.training.callbacks import Callback, StepMetrics
from astseg.training.config import BackgroundTraining, ForegroundTraining, Recipe
from astseg.training.execution import Execution
from astseg.training.loop import Trainer
from astseg.training.precision import Precision
from astseg.training.schedules import LearningRate
from astseg.training.state import TrainState

SIDE, SLOTS, IMAGES, PARTS = 32, 3, 200, 10


class Totals(Callback):
    """Remembers the loss of each step, by phase."""

    def __init__(self) -> None:
        self.losses: dict[str, list[float]] = {}

    def on_metrics(self, state: TrainState, metrics: StepMetrics) -> None:
        """Add a loss."""
        self.losses.setdefault(metrics.phase.name, []).append(metrics.losses["total"])


def curves(
    network: FeatureNetwork, images: Bytes, steps: int, precision: Precision, seed: int
) -> dict[str, list[float]]:
    """Return the losses of a training, by phase."""
    rate = LearningRate(2e-4, warmup_steps=steps // 10)
    recipe = Recipe(
        Architecture((SIDE, SIDE), SLOTS, feature_network=network, background_network="simple"),
        BackgroundTraining(steps, batch_size=8),
        ForegroundTraining(
            steps=2 * steps, frozen_steps=steps, batch_size=4, learning_rate=rate, entropy_warmup_steps=steps
        ),
    )
    totals = Totals()
    with TemporaryDirectory() as folder:
        Trainer(recipe, images, folder, "cpu", seed, [totals], report_every=1, execution=Execution(precision)).run()
    return totals.losses


def main() -> None:
    """Print a line for each tenth of each phase."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("--steps", type=int, default=300, help="of each phase")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        images = make_store(Path(folder) / "rooms", "rooms", {"train": IMAGES}, 0, SIDE, workers=1)["train"].images[:]
    trainings: dict[str, tuple[Precision, int]] = {"fp32": ("fp32", 0), "bf16": ("bf16", 0), "other seed": ("fp32", 1)}
    found = {
        name: curves(options.network, images, options.steps, precision, seed)
        for name, (precision, seed) in trainings.items()
    }
    print(f"{'':18}" + "".join(f"{name:>12}" for name in found))
    length = options.steps // PARTS
    for phase in found["fp32"]:
        for start in range(0, length * PARTS, length):
            means = (mean(losses[phase][start : start + length]) for losses in found.values())
            print(f"{phase:10} {start:7}" + "".join(f"{value:12.5f}" for value in means), flush=True)


if __name__ == "__main__":
    main()
