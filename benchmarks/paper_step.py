"""Measure the training step of the paper's networks on a CPU beside a plain transcription of it (`plain_networks.py`).

::

    python -m benchmarks.paper_step                              # all rows, which takes minutes
    python -m benchmarks.paper_step --rows unet-64 --repeats 9 --json unet.json

Each variant runs in a process of its own with the same weights and images; their steps alternate. Times are medians of
the processor time that a step took, which other programs disturb less than the time that passed; both are printed. The
memory is the peak beyond what a process has before it builds the network. Losses are those before the first step, in
evaluation mode.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from benchmarks import plain_networks as plain
from torch import Tensor, nn

from astseg._core.allocation import keep_freed_memory
from astseg._core.provenance import provenance
from astseg._core.settings_io import to_builtins
from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.backgrounds.product_convolution import keep_product_layout
from astseg.model.features.build import FeatureNetwork
from astseg.model.latents import LatentLayout
from astseg.training.batches import Batch
from astseg.training.config import BackgroundTraining, ForegroundTraining
from astseg.training.execution import Execution
from astseg.training.phases import BackgroundPhase, ObjectsPhase
from astseg.training.precision import Precision, has_fast_bfloat16, precision_context
from astseg.training.step import train_step

SLOTS = 10
VARIANTS = ("plain", "fp32", "bf16")


@dataclass(frozen=True)
class Row:
    """A network at a size."""

    network: FeatureNetwork | None
    """The feature network of phase 2; None for AE-NE alone, phase 1."""
    side: int
    batch: int


ROWS = {
    "b3-64": Row("segformer-b3", 64, 8),
    "b3-128": Row("segformer-b3", 128, 4),
    "unet-64": Row("unet", 64, 8),
    "ae-ne-64": Row(None, 64, 8),
    "ae-ne-128": Row(None, 128, 4),
}


class Step(NamedTuple):
    """A measured step."""

    processor: float
    """Seconds of the process."""
    passed: float
    """Seconds of the clock."""


class Measured(NamedTuple):
    """What is known of a variant."""

    steps: list[Step]
    loss: float
    peak_bytes: int


def build(row: Row, variant: str) -> tuple[Callable[[], object], Callable[[], Tensor]]:
    """Return a function that makes a training step, and one that returns the loss in evaluation mode."""
    torch.manual_seed(0)
    size = (row.side, row.side)
    architecture = Architecture(
        size,
        SLOTS,
        feature_network=row.network or "compact-unet",
        latents=LatentLayout(anisotropic=True),
        background_network="static" if row.network else "complex",  # where it is not trained, a small one
    )
    model = AstSeg(architecture)
    with torch.no_grad():
        model.background_log_activation.fill_(-1.0)  # the paper's 11 would hide all objects from the losses compared
    images, backgrounds = (torch.rand(row.batch, *size, 3).permute(0, 3, 1, 2) for _ in range(2))
    if variant == "plain":
        return build_plain(row, model, images.contiguous(), backgrounds.contiguous())
    precision: Precision = "bf16" if variant == "bf16" else "fp32"
    phase = ObjectsPhase(ForegroundTraining(), 100) if row.network else BackgroundPhase(BackgroundTraining(), 100)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    keep_product_layout(model)
    optimizer = phase.start(model)
    batch = Batch(images, backgrounds if row.network else None)

    def loss() -> Tensor:
        with precision_context(precision, images.device):
            return phase.losses(model.eval(), batch, phase.schedule(1)).total

    def step() -> object:
        return train_step(model, optimizer, phase, 1, batch, execution=Execution(precision))

    def start() -> object:
        model.train()
        return step()

    return start, loss


def build_plain(
    row: Row, model: AstSeg, images: Tensor, backgrounds: Tensor
) -> tuple[Callable[[], object], Callable[[], Tensor]]:
    """Return the same two functions of the plain transcription, with the weights of a model."""
    assert model.background is not None
    network: nn.Module
    if row.network is None:
        network = background = plain.PlainBackground(row.side)
        plain.copy_parameters(model.background, network)
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0)
    else:
        network = objects = plain.PlainObjects(row.side, SLOTS, row.network)
        model.background = None
        plain.copy_parameters(model, network)
        optimizer = torch.optim.Adam(network.parameters(), 4e-5, (0.9, 0.98), eps=1e-9)

    def loss_now() -> Tensor:
        if row.network is None:
            return plain.plain_background_loss(background, images)
        return plain.plain_objects_loss(objects, images, backgrounds, 1)

    def loss() -> Tensor:
        network.eval()
        return loss_now()

    def step() -> None:
        network.train()
        optimizer.zero_grad()
        loss_now().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step, loss


def memory(name: str) -> int:
    """Return bytes from the kernel's table of this process: ``VmRSS`` or ``VmHWM``."""
    return 1024 * int(Path("/proc/self/status").read_text().partition(f"{name}:")[2].split()[0])


def serve(connection: Connection, row: Row, variant: str, threads: int) -> None:
    """Build a variant, send its loss, make a step for each message that is true, and send the peak memory."""
    torch.set_num_threads(threads)
    if variant != "plain":
        keep_freed_memory()  # as the command line does before it trains
    before = memory("VmRSS")
    step, loss = build(row, variant)
    with torch.no_grad():
        connection.send(float(loss()))
    while connection.recv():
        passed, processor = time.perf_counter(), time.process_time()
        step()
        connection.send(Step(time.process_time() - processor, time.perf_counter() - passed))
    connection.send(memory("VmHWM") - before)


def measure(row: Row, repeats: int, threads: int) -> dict[str, Measured]:
    """Return what is measured of each variant; a step of each to warm up is not counted."""
    context = multiprocessing.get_context("fork")  # the libraries are imported once
    connections = {}
    for variant in VARIANTS:
        connections[variant], other = context.Pipe()
        context.Process(target=serve, args=(other, row, variant, threads), daemon=True).start()
    losses = {variant: connection.recv() for variant, connection in connections.items()}
    steps: dict[str, list[Step]] = {variant: [] for variant in VARIANTS}
    for _ in range(repeats + 1):
        for variant, connection in connections.items():
            connection.send(True)
            steps[variant].append(connection.recv())
    for connection in connections.values():
        connection.send(False)
    return {name: Measured(steps[name][1:], losses[name], each.recv()) for name, each in connections.items()}


def summary(name: str, measured: dict[str, Measured]) -> list[dict[str, Any]]:
    """Return a line for each variant of a row: medians, their ratios to the plain step, memory and loss."""
    first = measured["plain"]
    lines = []
    for variant, found in measured.items():
        processor, passed = (sorted(values) for values in zip(*found.steps, strict=True))
        plain_processor, plain_passed = map(statistics.median, zip(*first.steps, strict=True))
        lines.append(
            {
                "row": name,
                "variant": variant,
                "processor_seconds": statistics.median(processor),
                "processor_range": (processor[0], processor[-1]),
                "processor_ratio": plain_processor / statistics.median(processor),
                "passed_seconds": statistics.median(passed),
                "passed_ratio": plain_passed / statistics.median(passed),
                "peak_bytes": found.peak_bytes,
                "loss_difference": abs(found.loss - first.loss) / abs(first.loss),
            }
        )
    return lines


def print_line(line: dict[str, Any]) -> None:
    """Print a line of the table."""
    print(
        f"{line['row']:10} {line['variant']:6} {1000 * line['processor_seconds']:8.0f} "
        f"({' to '.join(f'{1000 * end:.0f}' for end in line['processor_range']):>13}) {line['processor_ratio']:6.2f} "
        f"{1000 * line['passed_seconds']:9.0f} {line['passed_ratio']:6.2f} {line['peak_bytes'] / 1e6:6.0f} "
        f"{line['loss_difference']:8.1e}",
        flush=True,
    )


def main() -> None:
    """Print a line for each variant of each row, and write all of it to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="row", help=", ".join(ROWS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="a file to write")
    options = parser.parse_args()
    from transformers import SegformerForSemanticSegmentation  # noqa: F401  imported once, before the processes

    machine = {
        "fast_bfloat16": has_fast_bfloat16(),
        "threads": options.threads,
        "load": os.getloadavg()[0],
        "program": to_builtins(provenance(torch.device("cpu"))),
    }
    print(json.dumps(machine))
    print(f"{'':17} {'processor ms':>24} {'ratio':>6} {'passed ms':>9} {'ratio':>6} {'MB':>6} {'loss':>8}")
    lines = []
    for name in options.rows:
        for line in summary(name, measure(ROWS[name], options.repeats, options.threads)):
            lines.append(line)
            print_line(line)
    if options.json:
        rows = {name: asdict(ROWS[name]) for name in options.rows}
        options.json.write_text(json.dumps({"machine": machine, "rows": rows, "lines": lines}, indent=1) + "\n")


if __name__ == "__main__":
    main()
