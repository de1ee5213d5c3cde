"""The settings of an import, and its progress reports."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from astseg._core.atomic_io import sibling_path
from astseg.data.benchmarks.protocols import Protocol
from astseg.data.benchmarks.registry import Benchmark
from astseg.data.store_writer import StoreWriter


@dataclass(frozen=True)
class ImportProgress:
    """Progress of an import."""

    stage: str
    """The current stage, in a few words."""
    done: int
    total: int | None
    """None if unknown."""
    unit: str
    """`images` or `bytes`."""


ProgressReport: TypeAlias = Callable[[ImportProgress], None]


@dataclass(frozen=True)
class ImportSettings:
    """The settings of an import."""

    benchmark: Benchmark
    files: tuple[Path, ...]
    """The files to read."""
    destination: Path
    size: int
    """Side of a prepared image in pixels."""
    protocol: Protocol
    limit: int | None
    """Maximum number of images per split; None means all."""
    exchange_red_and_blue: bool

    @property
    def staging_folder(self) -> Path:
        """A temporary folder beside the destination, needed until the store is complete."""
        return sibling_path(self.destination, f".{self.destination.name}.staging")

    def writer(self) -> StoreWriter:
        """Return a store writer that can resume an interrupted import."""
        details: dict[str, Any] = {
            "benchmark": self.benchmark.name,
            "slots": self.benchmark.dataset.num_slots,
            "protocol": self.protocol.name,
            "images_published": self.benchmark.count,
        }
        source = f"{self.benchmark.description} ({file_names(self.files)})"
        size = (self.size, self.size)
        return StoreWriter(self.destination, size, source, self.describe(), details, resume=True)

    def describe(self) -> str:
        """Describe the preprocessing and the protocol, for the manifest."""
        crop = self.benchmark.format.crop
        text = (
            f"{f'centre crop {crop} x {crop}' if crop else 'no crop'}, resized to {self.size} x {self.size} "
            f"(image bilinear with antialiasing, mask nearest); "
            f"protocol '{self.protocol.name}': {self.protocol.description}"
        )
        if self.limit is not None:
            text += f"; only the first {self.limit} images of each split"
        if self.exchange_red_and_blue:
            text += "; red and blue exchanged"
        return text


def file_names(files: Iterable[Path]) -> str:
    """Return the file names, separated by commas."""
    return ", ".join(file.name for file in files)
