"""The published figures as printed: Tables 1 to 5 of the paper, and the best results known elsewhere.

Scores are in percent, except the squared error, which is summed over channels and pixels of images in [0, 1]: at
128 x 128 for CLEVR, CLEVRTEX, OOD and CAMO, at 64 x 64 for ObjectsRoom and ShapeStacks. ``±`` is the deviation over
three runs; for other systems, Table 2 does not state the number. The paper takes the figures of other systems from its
references [27] (Tables 1 and 3) and [15] (Table 2).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from astseg.training.presets import FULL_ROW

ScoreName: TypeAlias = Literal["miou", "ari_fg", "msc_fg", "mse"]

PAPER_GPU = "Nvidia RTX 3090"
"""The GPU of Table 5."""


@dataclass(frozen=True)
class Score:
    """A published figure."""

    mean: float
    deviation: float | None = None
    """Over the runs; None if none is printed."""
    runs: int | None = None
    """The number of runs in the mean; None if it is not stated."""
    printed: str = ""
    """The figure as printed, with all its digits."""


@dataclass(frozen=True)
class PublishedRow:
    """One system on one data set."""

    dataset: str
    """Its name in `astseg.data.catalog`."""
    system: str
    """As the table names it, with its reference in the paper."""
    scores: Mapping[ScoreName, Score]
    """The published scores; others are left out."""
    source: str
    row: str | None = None
    """The row of the presets that trains this system; None for other systems."""


@dataclass(frozen=True)
class PublishedTime:
    """A row of Table 5: curriculum training on one GPU."""

    dataset: str
    background_steps: int
    background_seconds: int
    """Of phase 1."""
    foreground_steps: int
    foreground_seconds: int
    """Of phases 2 and 3."""


ROW_TITLES: Mapping[str, str] = {
    FULL_ROW: "full model AST-Seg-B3-CT (reference)",
    "baseline": "AST-Seg-B3-BT",
    "no-transformer": "model without transformer encoder",
    "one-more-slot": "K = 1 + maximum number of objects",
    "twice-the-slots": "K = 2 x maximum number of objects",
    "unet": "using a Unet instead of Segformer feature generator",
    "random-backbone": "random initialization of Segformer backbone",
    "no-entropy-loss": "training without pixel entropy loss",
    "frozen-background": "training using frozen pretrained background model",
    "isotropic": "isotropic scaling",
    "anisotropic": "anisotropic scaling",
}
"""The paper's names of the presets' rows: those of Table 4, and baseline training of Tables 1 and 2."""

# System ; scores of each data set, in the order that `SYSTEMS` gives below. A hyphen stands for a missing figure.
_TABLE_1 = """
SPAIR [10]    ; 65.95±4.02  77.13±1.92  55±10 0.00±0.00   0.00±0.00   1101±2
SPACE [30]    ; 26.31±12.93 22.75±14.04 63±3  9.14±3.46   17.53±4.13  298±80
GNM [23]      ; 59.92±3.72  65.05±4.19  43±3  42.25±0.18  53.37±0.67  383±2
MN [36]       ; 56.81±0.40  72.12±0.64  75±1  10.46±0.10  38.31±0.70  335±1
DTI [32]      ; 48.74±2.17  89.54±1.44  77±12 33.79±1.30  79.90±1.37  438±22
Gen-V2 [15]   ; 9.48±0.55   57.90±20.38 158±2 7.93±1.53   31.19±12.41 315±106
eMORL [14]    ; 50.19±22.56 93.25±3.24  33±8  12.58±2.39  45.00±7.77  318±43
MONet [4]     ; 30.66±14.87 54.47±11.41 58±12 19.78±1.02  36.66±0.87  146±7
SA [31]       ; 36.61±24.83 95.89±2.37  23±3  22.58±2.07  62.40±2.23  254±8
IODINE [19]   ; 45.14±17.85 93.81±0.76  44±9  29.17±0.75  59.52±2.20  340±3
AST-Seg-B3-BT ; 71.92±32.94 76.05±36.13 51±63 57.30±15.72 71.79±22.88 152±39
AST-Seg-B3-CT ; 90.27±0.20  98.26±0.07  16±1  79.58±0.54  94.77±0.51  139±7
"""
_TABLE_2 = """
MONet-g [4, 15] ; 54±0        33±1        -          -        70±4       57±12      -           -
Gen-v2 [15]     ; 84±1        58±3        -          -        81±0       68±1       -           -
SA [31]         ; 79±2        64±13       -          -        76±1       70±5       -           -
AST-Seg-B3-BT   ; 74.96±10.02 69.86±10.13 74.50±8.61 11.7±2.1 73.77±7.56 74.12±8.63 70.18±12.68 11.8±7.0
AST-Seg-B3-CT   ; 87.23±0.88  82.22±0.96  85.02±0.79 6.7±0.9  79.34±0.73 77.65±1.3  78.84±0.21  4.5±0.2
"""
_TABLE_3 = """
SPAIR [10]    ; 0.00±0.00  0.00±0.00   1166±5  0.00±0.00  0.00±0.00   668±3
SPACE [30]    ; 6.87±3.32  12.71±3.44  387±66  8.67±3.50  10.55±2.09  251±61
GNM [23]      ; 40.84±0.30 48.43±0.86  626±5   17.56±0.74 15.73±0.89  353±1
MN [36]       ; 12.13±0.19 37.29±1.04  409±3   8.79±0.15  31.52±0.87  265±1
DTI [32]      ; 32.55±1.08 73.67±0.98  590±4   27.54±1.55 72.90±1.89  377±17
Gen-V2 [15]   ; 8.74±1.64  29.04±11.23 539±147 7.49±1.67  29.60±12.84 278±75
eMORL [14]    ; 13.17±2.58 43.13±9.28  471±51  11.56±2.09 42.34±7.19  269±31
MONet [4]     ; 19.30±0.37 32.97±1.00  231±7   10.52±0.38 12.44±0.73  112±7
SA [31]       ; 20.98±1.59 58.45±1.87  487±16  19.83±1.41 57.54±1.01  215±7
IODINE [19]   ; 26.28±0.85 53.20±2.55  504±3   17.52±0.75 36.31±2.57  315±3
AST-Seg-B3-CT ; 67.50±0.75 83.14±0.75  832±24  73.07±0.65 87.27±3.78  145±6
"""
# Row of the presets ; scores. A star marks a mean over three runs; the others are of one run.
_TABLE_4 = """
full              ; 79.58* 94.77* 90.27* 98.26* 78.84* 79.34* 85.02* 87.23*
no-transformer    ; 75.69  94.41  77.16  93.09  82.99* 82.29* 85.51* 88.49*
one-more-slot     ; 79.11* 94.78* 91.03* 98.17* 78.87  80.05  82.90  86.45
twice-the-slots   ; 62.10  89.96  90.56  98.29  54.88  65.16  66.78  78.58
unet              ; 66.82  88.25  90.70  98.17  75.51  77.78  85.59  87.93
random-backbone   ; 61.74  80.22  88.94  97.77  62.73  68.40  77.71  79.23
no-entropy-loss   ; 70.18  91.81  85.54  96.09  52.17  60.08  84.21  86.19
frozen-background ; 75.30  95.31  81.46  98.29  55.06  66.24  85.82  87.78
isotropic         ; 78.68  94.78  -      -      -      -      84.91  87.20
anisotropic       ; -      -      87.21  98.53  45.47  36.43  -      -
"""

_OWN_ROWS = {"AST-Seg-B3-CT": FULL_ROW, "AST-Seg-B3-BT": "baseline"}
_ELSEWHERE = "Miyato et al., Artificial Kuramoto Oscillatory Neurons, ICLR 2025"


def _score(printed: str, runs: int | None) -> Score:
    mean, _, deviation = printed.partition("±")
    return Score(float(mean), float(deviation) if deviation else None, runs, printed.replace("±", " ± "))


def _figures(
    text: str, datasets: tuple[str, ...], names: tuple[ScoreName, ...]
) -> Iterator[tuple[str, str, dict[ScoreName, str]]]:
    """Yield the head of each line, the name of each data set, and its figures by score."""
    for line in text.strip().splitlines():
        head, _, rest = line.partition(";")
        groups = [rest.split()[start : start + len(names)] for start in range(0, len(rest.split()), len(names))]
        for dataset, cells in zip(datasets, groups, strict=True):
            figures = {name: cell for name, cell in zip(names, cells, strict=True) if cell != "-"}
            if figures:
                yield head.strip(), dataset, figures


def _systems(number: int, text: str, datasets: tuple[str, ...], names: tuple[ScoreName, ...]) -> Iterator[PublishedRow]:
    for system, dataset, figures in _figures(text, datasets, names):
        runs = None if number == 2 and system not in _OWN_ROWS else 3
        scores = {name: _score(printed, runs) for name, printed in figures.items()}
        yield PublishedRow(dataset, system, scores, f"Table {number}", _OWN_ROWS.get(system))


def _ablations() -> Iterator[PublishedRow]:
    for row, dataset, figures in _figures(
        _TABLE_4, ("clevrtex", "clevr", "shapestacks", "objectsroom"), ("miou", "ari_fg")
    ):
        scores = {
            name: Score(float(printed.rstrip("*")), runs=3 if printed.endswith("*") else 1, printed=printed)
            for name, printed in figures.items()
        }
        yield PublishedRow(dataset, ROW_TITLES[row], scores, "Table 4", row)


SYSTEMS: tuple[PublishedRow, ...] = (
    *_systems(1, _TABLE_1, ("clevr", "clevrtex"), ("miou", "ari_fg", "mse")),
    *_systems(2, _TABLE_2, ("objectsroom", "shapestacks"), ("ari_fg", "msc_fg", "miou", "mse")),
    *_systems(3, _TABLE_3, ("clevrtex-ood", "clevrtex-camo"), ("miou", "ari_fg", "mse")),
    PublishedRow("clevrtex", "AKOrN-Large", {"ari_fg": Score(88.5, printed="88.5")}, _ELSEWHERE),
    PublishedRow("clevrtex-ood", "AKOrN-Large", {"ari_fg": Score(87.7, 0.5, printed="87.7 ± 0.5")}, _ELSEWHERE),
    PublishedRow("clevrtex-camo", "AKOrN-Large", {"ari_fg": Score(77.0, printed="77.0")}, _ELSEWHERE),
)
"""Tables 1 to 3 in their order, then the best results elsewhere."""

ABLATIONS: tuple[PublishedRow, ...] = tuple(_ablations())
"""Table 4."""

_HOUR, _MINUTE = 3600, 60
TIMES: tuple[PublishedTime, ...] = (
    PublishedTime("clevrtex", 500_000, 57 * _HOUR + 47 * _MINUTE, 125_000, 16 * _HOUR),
    PublishedTime("clevr", 2_500, 20 * _MINUTE, 125_000, 12 * _HOUR + 3 * _MINUTE),
    PublishedTime("objectsroom", 500_000, 14 * _HOUR + 57 * _MINUTE, 125_000, 6 * _HOUR + 31 * _MINUTE),
    PublishedTime("shapestacks", 500_000, 14 * _HOUR + 20 * _MINUTE, 125_000, 6 * _HOUR + 22 * _MINUTE),
)
"""Table 5."""


def published_systems(dataset: str) -> tuple[PublishedRow, ...]:
    """Return the rows for a data set of Tables 1 to 3, and the best results elsewhere."""
    return tuple(row for row in SYSTEMS if row.dataset == dataset)


def published_ablations(dataset: str) -> tuple[PublishedRow, ...]:
    """Return the rows for a data set of Table 4; there are none for OOD and CAMO."""
    return tuple(row for row in ABLATIONS if row.dataset == dataset)
