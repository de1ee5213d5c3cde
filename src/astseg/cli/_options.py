"""Options and arguments of several commands, and how to parse them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astseg._core.errors import AstSegError
from astseg.cli._console import be_quiet

if TYPE_CHECKING:
    import torch

    from astseg.inference.formats.categories import CategoryChoice

Model = Annotated[
    str,
    typer.Argument(
        help="The folder of a training run or of a model, a model that comes with astseg (rooms, towers, clevr, "
        "clevrtex, clevrtex-dense), or a name on the model hub."
    ),
]
Source = Annotated[Path, typer.Argument(help="A folder of images, an image, a video, an array file, or prepared data.")]
Sources = Annotated[
    list[str],
    typer.Argument(
        help="Folders of images, images, videos, array files, or prepared data; '*.jpg', a list.txt, -, https://..., "
        "camera:0, rtsp://... (see above)."
    ),
]
Seed = Annotated[
    int, typer.Option(help="The seed for the initial weights and the order of the images.", min=0, max=2**64 - 1)
]
Masks = Annotated[
    Path | None,
    typer.Option(
        help="A folder with a mask for each image, used for scores only. By default the masks beside the images."
    ),
]
Ignore = Annotated[
    str | None,
    typer.Option(
        metavar="VALUES",
        help="Values of mask pixels that are not scored, such as 255 or 85,170; none scores all. By default those of "
        "VOC and CDnet are recognized.",
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="The folder to create.")]
ScoresOut = Annotated[Path, typer.Option("--out", "-o", help="The folder for the files.")]
Destination = Annotated[Path, typer.Argument(help="The folder to create.")]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        "-f",
        metavar="NAMES",
        help="Masks for other tools, each kind in a folder of its name in the results: coco, yolo, cvat, mots, "
        "labelstudio, cutouts, parquet, grey. May be repeated.",
    ),
]
Categories = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES|NUMBER",
        help="With --format, what kinds of objects there are: names of slots, such as 1=car,2=car,3=person (others are "
        "'object'), or a number, such as 4, to group what looks alike. By default all are of one kind.",
    ),
]
Rule = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="Change a value of the model's rule for labels, such as noise_shade=0.5, which takes shadows before a "
        "static camera for background (docs/settings.md, label_rule). Repeat it for other values.",
    ),
]
MinArea = Annotated[
    int,
    typer.Option(
        help="For the scores of regions: true regions of fewer pixels need not be found, and smaller found ones do not "
        "count unless they match.",
        min=0,
    ),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        help="For yolo: by how many pixels outlines may be simplified, 0.5 by default; 0 keeps every corner.", min=0
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="Stop at the first problem of training, with exit code 2 and everything saved; --resume goes on.",
    ),
]
Every = Annotated[int, typer.Option(help="Take every n-th frame of a video.", min=1)]
MaxFrames = Annotated[
    int | None,
    typer.Option(help="Take at most this many frames of each video, evenly spread over its length.", min=1),
]
Device = Annotated[
    str, typer.Option(help="Where to compute: auto (a GPU if there is one), cpu, cuda, cuda:1, mps or xpu.")
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", callback=be_quiet, help="Print results and errors alone, no progress and no notes."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as a line of JSON.")]


MAX_DIGITS = 9
"""Of a number that a user writes: colors have eight."""


def find_device(name: str) -> "torch.device":
    """Return the device of a name; see `devices.find_device`."""
    from astseg._core import devices  # imports torch, which takes seconds, and --help does not need it

    return devices.find_device(name)


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Parse ``HEIGHTxWIDTH`` or a single side.

    Raises:
        AstSegError: the text is neither.

    >>> parse_size("96x128"), parse_size("64")
    ((96, 128), (64, 64))
    """
    return _parse_pair(text, "A size looks like 96x128 (height x width) or 64")


def parse_tiles(text: str | None) -> tuple[int, int] | None:
    """Parse ``ROWSxCOLUMNS`` or a single number for both.

    Raises:
        AstSegError: the text is neither.

    >>> parse_tiles("2x3"), parse_tiles("2")
    ((2, 3), (2, 2))
    """
    return _parse_pair(text, "Tiles look like 2x3 (rows x columns) or 2")


def _parse_pair(text: str | None, expected: str) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and len(part) <= MAX_DIGITS and int(part) for part in parts):
        raise AstSegError(f"{expected}, not '{text}'.")
    numbers = [int(part) for part in parts]
    return numbers[0], numbers[-1]


def parse_values(text: str | None) -> frozenset[int] | None:
    """Parse the values of mask pixels that are not scored: numbers separated by commas, or ``none``.

    Raises:
        AstSegError: the text is neither.

    >>> sorted(parse_values("85,170")), parse_values("none"), parse_values(None)
    ([85, 170], frozenset(), None)
    """
    if text is None or text == "none":
        return None if text is None else frozenset()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) <= MAX_DIGITS for part in parts):
        raise AstSegError(f"Values to ignore look like 255 or 85,170, or none, not '{text}'.")
    return frozenset(map(int, parts))


def parse_names(text: str) -> tuple[str, ...]:
    """Parse names separated by commas.

    >>> parse_names("coco, yolo")
    ('coco', 'yolo')
    """
    return tuple(name.strip() for name in text.split(",") if name.strip())


def parse_categories(text: str | None) -> "CategoryChoice":
    """Parse a number of kinds, or names of slots such as ``1=car,2=bus``.

    Raises:
        AstSegError: the text is neither.

    >>> parse_categories("4"), parse_categories("1=car, 2=bus"), parse_categories(None)
    (4, {1: 'car', 2: 'bus'}, {})
    """
    if text is not None and text.strip().isdecimal() and len(text.strip()) <= MAX_DIGITS:
        return int(text)
    names = {}
    for part in parse_names(text or ""):
        slot, equals, name = part.partition("=")
        if not equals or not slot.strip().isdecimal() or len(slot.strip()) > MAX_DIGITS:
            raise AstSegError(f"Categories look like 1=car,2=bus (slot=name), or 4 (kinds), not '{text:.80}'.")
        if int(slot) in names:
            raise AstSegError(f"Slot {int(slot)} is named twice in the categories '{text:.80}'.")
        names[int(slot)] = name.strip()
    return names


def parse_changes(texts: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """Parse changes of settings that an option asks for, each ``NAME=VALUE``.

    Raises:
        AstSegError: a text has another form.
    """
    from astseg._core.settings_io import parse_change

    try:
        return dict(map(parse_change, texts))
    except ValueError as error:
        raise AstSegError(f"{option}: {error}.") from error
