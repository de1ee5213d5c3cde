"""The benchmarks by name: what they are, how many objects, which protocols, and where they are published."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from astseg.data.benchmarks import clevrtex, multi_object, protocols, shapestacks
from astseg.data.benchmarks.protocols import Protocol
from astseg.errors import AstSegError

THOR = "https://thor.robots.ox.ac.uk/datasets/clevrtex"
DEEPMIND = "https://storage.googleapis.com/multi-object-datasets"
SHAPESTACKS = "http://shapestacks-file.robots.ox.ac.uk/static/download/v1"

ROOM_TESTS = ("empty_room", "six_objects", "identical_color")


@dataclass(frozen=True)
class RemoteFile:
    """A published file."""

    address: str
    md5_address: str | None = None
    """Where its MD5 checksum is published, if it is."""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.address.rpartition("/")[2]


@dataclass(frozen=True)
class Pictures:
    """Pictures and masks as PNG files, numbered in their names, in folders or archives."""

    variant: str
    """As in the files' names: full, camo, ..., or `clevr` for CLEVR converted to this form."""
    crop: int = clevrtex.CROP


@dataclass(frozen=True)
class Records:
    """Pictures with one mask per entity, in TFRecord or HDF5 files."""

    layout: multi_object.EntityLayout
    tests: Mapping[str, str] = field(default_factory=dict)
    """Further files that are splits of their own: a part of the file's name, and the split."""

    @property
    def crop(self) -> int | None:
        """Side of the square cut out of the middle."""
        return self.layout.crop


@dataclass(frozen=True)
class Recordings:
    """ShapeStacks' recordings, instance maps and lists, in a folder or archives."""

    crop: int = shapestacks.CROP


@dataclass(frozen=True)
class Benchmark:
    """A published data set and how it is prepared."""

    name: str
    description: str
    slots: int
    """The largest number of objects, K in the paper."""
    image_size: int
    """Side of a prepared picture in pixels."""
    format: Pictures | Records | Recordings
    protocols: tuple[Protocol, ...]
    """The first one is the default. Empty for ShapeStacks, whose lists come with the data."""
    count: int | None = None
    """Published pictures, if known; of the training file for records."""
    files: tuple[RemoteFile, ...] = ()
    """What can be downloaded by name; empty if no address is documented."""

    def protocol(self, name: str | None) -> Protocol:
        """The protocol of a name, or the default.

        Raises:
            AstSegError: there is none of that name.
        """
        names = [protocol.name for protocol in self.protocols]
        if name is not None and name not in names:
            raise AstSegError(f"'{self.name}' has no protocol '{name}'. It has: {', '.join(names)}.")
        return self.protocols[names.index(name) if name else 0]


def _clevrtex(variant: str, description: str, count: int | None, *files: str) -> Benchmark:
    return Benchmark(
        name=f"clevrtex-{variant}",
        description=description,
        slots=10,
        image_size=128,
        format=Pictures(variant),
        protocols=protocols.OUTD_PROTOCOLS if variant == "outd" else protocols.CLEVRTEX_PROTOCOLS,
        count=count,
        files=tuple(RemoteFile(f"{THOR}/{file}") for file in files),
    )


_ALL = (
    _clevrtex(
        "full",
        "CLEVRTEX: 3-10 textured objects",
        50_000,
        *(f"clevrtex_full_part{part}.tar.gz" for part in range(1, 6)),
    ),
    _clevrtex("pbg", "CLEVRTEX with plain backgrounds", None),
    _clevrtex("vbg", "CLEVRTEX with varied backgrounds and plain objects", None),
    _clevrtex("grassbg", "CLEVRTEX on grass", None),
    _clevrtex("camo", "CLEVRTEX whose objects wear the ground's texture", None, "clevrtex_camo.tar.gz"),
    _clevrtex("outd", "CLEVRTEX with unseen shapes and textures (OOD)", 10_000, "clevrtex_outd.tar.gz"),
    Benchmark(
        name="clevr",
        description="CLEVR with masks: 3-10 objects, TFRecord or HDF5",
        slots=10,
        image_size=128,
        format=Records(multi_object.CLEVR),
        protocols=protocols.CLEVR_PROTOCOLS,
        count=100_000,
        files=(RemoteFile(f"{DEEPMIND}/clevr_with_masks/clevr_with_masks_train.tfrecords"),),
    ),
    Benchmark(
        name="clevr-png",
        description="CLEVR converted to CLEVRTEX's files (CLEVR_000000.png, CLEVR_000000_flat.png)",
        slots=10,
        image_size=128,
        format=Pictures("clevr"),
        protocols=protocols.CLEVR_PROTOCOLS,
        count=100_000,
    ),
    Benchmark(
        name="objects-room",
        description="ObjectsRoom: 1-3 objects in a room, and its three test sets, TFRecord or HDF5",
        slots=3,
        image_size=64,
        format=Records(multi_object.OBJECTS_ROOM, {f"test_{name}": name for name in ROOM_TESTS}),
        protocols=protocols.OBJECTS_ROOM_PROTOCOLS,
        count=1_000_000,
        files=tuple(
            RemoteFile(f"{DEEPMIND}/objects_room/objects_room_{name}.tfrecords")
            for name in ("train", *(f"test_{name}" for name in ROOM_TESTS))
        ),
    ),
    Benchmark(
        name="shapestacks",
        description="ShapeStacks: towers of 2-6 shapes",
        slots=6,
        image_size=64,
        format=Recordings(),
        protocols=(),
        files=tuple(
            RemoteFile(f"{SHAPESTACKS}/shapestacks-{part}.tar.gz", f"{SHAPESTACKS}/shapestacks-{part}.md5")
            for part in ("meta", "rgb", "iseg")
        ),
    ),
)

BENCHMARKS: Mapping[str, Benchmark] = {benchmark.name: benchmark for benchmark in _ALL}


def benchmark(name: str) -> Benchmark:
    """The benchmark of a name.

    Raises:
        AstSegError: there is none of that name.
    """
    if name not in BENCHMARKS:
        raise AstSegError(f"There is no benchmark '{name}'. There are: {', '.join(BENCHMARKS)}.")
    return BENCHMARKS[name]
