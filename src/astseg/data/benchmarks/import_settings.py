"""What an import was asked to do, and how it tells how far it is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from astseg._core.atomic_io import beside
from astseg.data.benchmarks.protocols import Protocol
from astseg.data.benchmarks.registry import Benchmark
from astseg.data.store_writer import StoreWriter


@dataclass(frozen=True)
class ImportProgress:
    """How far an import is."""

    stage: str
    """What is being done, in a few words."""
    done: int
    total: int | None
    """None if it is not known."""
    unit: str
    """`images` or `bytes`."""


ProgressReport: TypeAlias = Callable[[ImportProgress], None]


@dataclass(frozen=True)
class ImportSettings:
    """What was asked for."""

    benchmark: Benchmark
    files: tuple[Path, ...]
    """What is read."""
    destination: Path
    size: int
    """Side of a prepared image in pixels."""
    protocol: Protocol
    limit: int | None
    """At most so many images of each split; None means all."""
    exchange_red_and_blue: bool

    @property
    def beside(self) -> Path:
        """A folder beside the destination for what is needed only until the store is whole."""
        return beside(self.destination, f".{self.destination.name}.staging")

    def writer(self) -> StoreWriter:
        """Return a writer of the store that can be interrupted."""
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
        """Return the protocol in words, for the manifest."""
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
    """Return the files' names in one line."""
    return ", ".join(file.name for file in files)
