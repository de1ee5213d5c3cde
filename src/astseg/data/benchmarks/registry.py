"""The published benchmark files by catalog name: their format, split protocols and addresses."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from astseg._core.errors import AstSegError
from astseg._core.text import without_password
from astseg.data.benchmarks import clevrtex, multi_object, protocols, shapestacks
from astseg.data.benchmarks.protocols import Protocol
from astseg.data.catalog import SPELLINGS, DatasetSpec, find_dataset

CLEVRTEX_URL = "https://thor.robots.ox.ac.uk/datasets/clevrtex"
DEEPMIND_URL = "https://storage.googleapis.com/multi-object-datasets"
SHAPESTACKS_URL = "http://shapestacks-file.robots.ox.ac.uk/static/download/v1"

# As the data sets' pages say them (CLEVRTEX's, ShapeStacks', the README of multi_object_datasets): two digits at most.
# Exact sizes and checksums are published nowhere, but for ShapeStacks' MD5 sums on its own server.
KB, MB, GB = 10**3, 10**6, 10**9
CLEVRTEX_PART_SIZE, CLEVRTEX_OOD_SIZE = 4_700 * MB, 5_300 * MB
CLEVR_SIZE = 10_500 * MB
OBJECTS_ROOM_SIZE, OBJECTS_ROOM_TEST_SIZE = 7 * GB, 7 * MB
SHAPESTACKS_SIZES = {"meta": 156 * KB, "rgb": 33 * GB, "iseg": None}

OBJECTS_ROOM_TEST_SETS = ("empty_room", "six_objects", "identical_color")


@dataclass(frozen=True)
class RemoteFile:
    """A published file to download."""

    address: str
    md5_address: str | None = None
    """Address of its published MD5 checksum, if any."""
    size: int | None = None
    """Its size in bytes, rounded as its page says it; None if it does not."""
    file_name: str | None = None
    """What to call the file; by default the end of its address."""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.file_name or self.address.rpartition("/")[2]

    @property
    def shown(self) -> str:
        """The address, as it may be shown."""
        return without_password(self.address)


@dataclass(frozen=True)
class PngFormat:
    """Images and masks as PNG files with numbered names, in folders or archives."""

    variant: str
    """As in the file names: full, camo, ..., or `clevr` for CLEVR converted to this format."""
    crop: int = clevrtex.CROP


@dataclass(frozen=True)
class RecordFormat:
    """Images with one mask per entity, in TFRecord or HDF5 files."""

    layout: multi_object.EntityLayout
    tests: Mapping[str, str] = field(default_factory=dict)
    """Files that are a test split each: part of the file name -> name of the split."""

    @property
    def crop(self) -> int | None:
        """Side of the center crop in pixels; None without a crop."""
        return self.layout.crop


@dataclass(frozen=True)
class ShapeStacksFormat:
    """ShapeStacks' recordings, instance maps and split lists, in a folder or archives."""

    crop: int = shapestacks.CROP


@dataclass(frozen=True)
class Benchmark:
    """The published files of a data set and how they are prepared."""

    name: str
    """The data set's name, or an alias for one format of its files."""
    description: str
    format: PngFormat | RecordFormat | ShapeStacksFormat
    protocols: tuple[Protocol, ...]
    """The first one is the default. Empty for ShapeStacks, whose split lists come with the data."""
    count: int | None = None
    """Number of published images (for records, in the training file), if known."""
    files: tuple[RemoteFile, ...] = ()
    """Files that can be downloaded; empty if no address is documented."""

    @property
    def dataset(self) -> DatasetSpec:
        """The data set's entry in the catalog."""
        return SPELLINGS[self.name]

    @property
    def image_size(self) -> int:
        """Side of a prepared image in pixels."""
        return self.dataset.image_size

    def protocol(self, name: str | Protocol | None) -> Protocol:
        """Return a protocol by name, the default for None, or a given protocol itself.

        Raises:
            AstSegError: the benchmark has no protocol of this name.
        """
        if isinstance(name, Protocol):
            return name
        names = [protocol.name for protocol in self.protocols]
        if name is not None and name not in names:
            raise AstSegError(f"'{self.name}' has no protocol '{name}'. It has: {', '.join(names)}.")
        return self.protocols[names.index(name) if name else 0]


def _clevrtex(
    name: str, variant: str, description: str, count: int | None, *files: str, size: int | None = None
) -> Benchmark:
    return Benchmark(
        name=name,
        description=description,
        format=PngFormat(variant),
        protocols=protocols.OUTD_PROTOCOLS if variant == "outd" else protocols.CLEVRTEX_PROTOCOLS,
        count=count,
        files=tuple(RemoteFile(f"{CLEVRTEX_URL}/{file}", size=size) for file in files),
    )


_ALL = (
    _clevrtex(
        "clevrtex",
        "full",
        "CLEVRTEX: 3-10 textured objects",
        50_000,
        *(f"clevrtex_full_part{part}.tar.gz" for part in range(1, 6)),
        size=CLEVRTEX_PART_SIZE,
    ),
    _clevrtex("clevrtex-pbg", "pbg", "CLEVRTEX with plain backgrounds", None),
    _clevrtex("clevrtex-vbg", "vbg", "CLEVRTEX with varied backgrounds and plain objects", None),
    _clevrtex("clevrtex-grassbg", "grassbg", "CLEVRTEX on grass", None),
    _clevrtex(
        "clevrtex-camo", "camo", "CLEVRTEX whose objects wear the ground's texture", None, "clevrtex_camo.tar.gz"
    ),
    _clevrtex(
        "clevrtex-ood",
        "outd",
        "CLEVRTEX with unseen shapes and textures (OOD)",
        10_000,
        "clevrtex_outd.tar.gz",
        size=CLEVRTEX_OOD_SIZE,
    ),
    Benchmark(
        name="clevr",
        description="CLEVR with masks: 3-10 objects, TFRecord or HDF5",
        format=RecordFormat(multi_object.CLEVR),
        protocols=protocols.CLEVR_PROTOCOLS,
        count=100_000,
        files=(RemoteFile(f"{DEEPMIND_URL}/clevr_with_masks/clevr_with_masks_train.tfrecords", size=CLEVR_SIZE),),
    ),
    Benchmark(
        name="clevr-png",
        description="CLEVR converted to CLEVRTEX's files (CLEVR_000000.png, CLEVR_000000_flat.png)",
        format=PngFormat("clevr"),
        protocols=protocols.CLEVR_PROTOCOLS,
        count=100_000,
    ),
    Benchmark(
        name="objectsroom",
        description="ObjectsRoom: 1-3 objects in a room, and its three test sets, TFRecord or HDF5",
        format=RecordFormat(multi_object.OBJECTS_ROOM, {f"test_{name}": name for name in OBJECTS_ROOM_TEST_SETS}),
        protocols=protocols.OBJECTS_ROOM_PROTOCOLS,
        count=1_000_000,
        files=tuple(
            RemoteFile(f"{DEEPMIND_URL}/objects_room/objects_room_{name}.tfrecords", size=size)
            for name, size in (
                ("train", OBJECTS_ROOM_SIZE),
                *((f"test_{name}", OBJECTS_ROOM_TEST_SIZE) for name in OBJECTS_ROOM_TEST_SETS),
            )
        ),
    ),
    Benchmark(
        name="shapestacks",
        description="ShapeStacks: towers of 2-6 shapes",
        format=ShapeStacksFormat(),
        protocols=(),
        files=tuple(
            RemoteFile(
                f"{SHAPESTACKS_URL}/shapestacks-{part}.tar.gz", f"{SHAPESTACKS_URL}/shapestacks-{part}.md5", size
            )
            for part, size in SHAPESTACKS_SIZES.items()
        ),
    ),
)

BENCHMARKS: Mapping[str, Benchmark] = {benchmark.name: benchmark for benchmark in _ALL}


def get_benchmark(name: str) -> Benchmark:
    """Return a benchmark by its name or an alias.

    Raises:
        AstSegError: there is no benchmark of this name.
    """
    return BENCHMARKS[name if name in BENCHMARKS else find_dataset(name).name]
