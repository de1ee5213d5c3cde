"""What materials look like before they are colored: a pattern for each kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from astseg.data.scenes.materials.fields import (
    SIDE,
    Field,
    Fields,
    X,
    Y,
    mixed,
    ridges,
    rounded,
    spread,
    step,
    wave,
)


class Kind(StrEnum):
    """The kinds of materials."""

    PLASTER = "plaster"
    ROCK = "rock"
    BRICKS = "bricks"
    PLANKS = "planks"
    WOOD = "wood"
    TILES = "tiles"
    COBBLES = "cobbles"
    GRAVEL = "gravel"
    TERRAZZO = "terrazzo"
    MARBLE = "marble"
    GRANITE = "granite"
    WEAVE = "weave"
    TWILL = "twill"
    CARPET = "carpet"
    LEATHER = "leather"
    BRUSHED_METAL = "brushed metal"
    RUST = "rust"
    SAND = "sand"
    GRASS = "grass"
    BARK = "bark"
    SHINGLES = "shingles"
    WICKER = "wicker"
    PARQUET = "parquet"
    HEXAGONS = "hexagons"
    CRACKED_EARTH = "cracked earth"


@dataclass(frozen=True)
class Pattern:
    """A tile of a material without its colors."""

    tone: Field
    """From the material's dark (0) to its light color (1)."""
    height: Field
    """How far the surface stands out, 0 to 1."""
    inlay: Field = field(default_factory=lambda: np.zeros((SIDE, SIDE)))
    """Share of the material's second color, 0 to 1: joints, veins, chips, rust."""


def pattern(kind: Kind, fields: Fields, size: int) -> Pattern:
    """Draw a pattern; `size` 0 to 2 chooses from coarse to fine."""
    return _PATTERNS[kind](fields, size)


def _plaster(fields: Fields, size: int) -> Pattern:
    blotches, grain = fields.fractal(2 + size, octaves=6), fields.fractal(32, octaves=3)
    trowel = fields.fractal(3, 8, octaves=4)
    return Pattern(0.5 * blotches + 0.25 * trowel + 0.25 * grain, 0.5 * trowel + 0.3 * grain)


def _rock(fields: Fields, size: int) -> Pattern:
    bend = fields.fractal(3, octaves=3) * 0.12
    rough = fields.fractal(3 + size, octaves=6, x=X + bend, y=Y - bend, weight=0.62)
    cracks = step(ridges(fields.fractal(3, octaves=4, x=X - bend)), 0.9, 1.0)
    return Pattern(0.75 * rough + 0.25 * fields.fractal(24, octaves=3), rough - 0.4 * cracks, 0.5 * cracks)


def _bricks(fields: Fields, size: int) -> Pattern:
    bend = (fields.fractal(24, octaves=2) - 0.5) * 0.008
    rows = (8, 12, 16)[size]
    wall = fields.bricks(rows // 3 + 1, rows, 0.5, X + bend, Y + bend)
    rough = fields.fractal(12, octaves=5, weight=0.65)
    joint = 1 - step(wall.edge + 0.06 * (rough - 0.5), 0.06, 0.13)
    soot = fields.fractal(2, octaves=4)
    tone = 0.42 * fields.of_each(wall) + 0.38 * rough + 0.2 * soot
    return Pattern(tone, (1 - joint) * (0.75 + 0.25 * rough), joint)


def _planks(fields: Fields, size: int) -> Pattern:
    boards = fields.bricks((1, 1, 2)[size], (5, 7, 8)[size], None)
    moved = fields.of_each(boards)
    grain = _grain(fields, X + moved, Y + 0.37 * moved)
    gap = 1 - step(boards.edge, 0.015, 0.05)
    tone = 0.35 * fields.of_each(boards) + 0.65 * grain
    return Pattern(tone, (1 - gap) * (0.85 + 0.15 * grain), gap)


def _wood(fields: Fields, size: int) -> Pattern:
    bend = (fields.fractal(1, 3, octaves=3) - 0.5) * (0.3, 0.22, 0.16)[size]
    rings = wave((Y + bend) * (4, 6, 9)[size])
    streaks = fields.fractal(3, 48, octaves=2, y=Y + bend * 0.5)
    tone = 0.45 * rings + 0.35 * streaks + 0.2 * fields.fractal(2, 4)
    return Pattern(tone, 0.4 * streaks + 0.3 * rings)


def _grain(fields: Fields, x: Field, y: Field) -> Field:
    bend = (fields.fractal(2, 4, octaves=3, x=x, y=y) - 0.5) * 0.06
    return spread(0.5 * fields.fractal(1, 14, octaves=3, x=x, y=y + bend) + 0.3 * fields.fractal(3, 60, 2, x, y + bend))


def _tiles(fields: Fields, size: int) -> Pattern:
    count = (3, 4, 6)[size]
    floor = fields.bricks(count, count, 0.0)
    moved = fields.of_each(floor)
    mottle = fields.fractal(4, octaves=5, x=X + moved, y=Y + moved)
    grout = 1 - step(floor.edge + 0.01 * fields.fractal(32, octaves=2), 0.022, 0.045)
    tone = 0.3 * fields.of_each(floor) + 0.6 * mottle + 0.1 * fields.fractal(2, octaves=3)
    return Pattern(tone, (1 - grout) * step(floor.edge, 0.02, 0.1), grout)


def _cobbles(fields: Fields, size: int) -> Pattern:
    bend = (fields.fractal(16, octaves=2) - 0.5) * 0.015
    stones = fields.cells((6, 8, 12)[size], 0.7, X + bend, Y - bend)
    rough = fields.fractal(16, octaves=4)
    gap = 1 - step(stones.edge, 0.06, 0.2)
    tone = 0.45 * fields.of_each(stones) + 0.4 * rough + 0.15 * step(stones.edge, 0, 0.6)
    return Pattern(tone, (1 - gap) * (0.7 * step(stones.edge, 0, 0.7) + 0.3 * rough), gap)


def _gravel(fields: Fields, size: int) -> Pattern:
    stones = fields.cells((14, 20, 28)[size])
    small = fields.cells(40)
    shade = step(stones.edge, 0.0, 0.35)
    tone = 0.6 * fields.of_each(stones) + 0.2 * fields.of_each(small) + 0.2 * fields.fractal(24, octaves=3)
    return Pattern(tone * (0.45 + 0.55 * shade), shade * (1 - 0.5 * stones.center), 0.5 * (1 - shade))


def _terrazzo(fields: Fields, size: int) -> Pattern:
    tone = 0.35 + 0.2 * fields.fractal(32, octaves=3)
    inlay = np.zeros((SIDE, SIDE))
    for across in ((12, 20, 40), (16, 28, 44), (20, 32, 48))[size]:
        chips = fields.cells(across, 0.9)
        shown = (fields.of_each(chips) < 0.45) * step(chips.edge - 0.4 * fields.of_each(chips), 0.05, 0.15)
        tone = mixed(tone, fields.of_each(chips), shown)
        inlay = mixed(inlay, step(fields.of_each(chips), 0.55, 0.6), shown)
    return Pattern(tone, np.full((SIDE, SIDE), 0.5), inlay)


def _marble(fields: Fields, size: int) -> Pattern:
    bend = (fields.fractal(2, octaves=5) - 0.5) * 0.4
    clouds = fields.fractal(2 + size, octaves=5, x=X + bend, y=Y + bend)
    vein = ridges(fields.fractal(2 + size, octaves=4, x=X + bend, y=Y - 0.5 * bend, weight=0.45))
    fine = ridges(fields.fractal(4, octaves=4, x=X - bend))
    veins = np.maximum(step(vein, 0.78, 1.0), 0.6 * step(fine, 0.88, 1.0)) * (0.3 + 0.7 * clouds)
    return Pattern(0.8 * clouds + 0.2 * vein, np.full((SIDE, SIDE), 0.5), 0.8 * veins)


def _granite(fields: Fields, size: int) -> Pattern:
    across = (20, 28, 40)[size]
    crystals = fields.cells(across)
    dark = fields.fractal(across, octaves=2)
    tone = 0.5 * fields.of_each(crystals) + 0.3 * fields.fractal(across * 2, octaves=1) + 0.2 * fields.fractal(3)
    return Pattern(tone, np.full((SIDE, SIDE), 0.5), 0.85 * step(dark, 0.68, 0.8))


def _weave(fields: Fields, size: int) -> Pattern:
    count = (20, 28, 40)[size]
    bend = (fields.fractal(6, octaves=3) - 0.5) * 0.01
    x, y = (X + bend) * count, (Y - bend) * count
    column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    across, down = rounded(x - column), rounded(y - row)
    over = (column + row) % 2 == 0
    height = np.where(over, across * (0.5 + 0.5 * down), down * (0.5 + 0.5 * across))
    threads_x, threads_y = fields.values(count), fields.values(count)
    thread = np.where(over, threads_x[column % count], threads_y[row % count])
    fuzz = fields.fractal(40, octaves=2)
    return Pattern(0.35 * height + 0.3 * thread + 0.2 * fuzz + 0.15 * fields.fractal(3), height)


def _twill(fields: Fields, size: int) -> Pattern:
    count = (24, 32, 44)[size]
    bend = (fields.fractal(6, octaves=3) - 0.5) * 0.02
    rib = wave((X + Y + bend) * count)
    slubs = fields.fractal(64, 6, octaves=2)
    worn = fields.fractal(2, octaves=5)
    return Pattern(0.3 * rib + 0.35 * slubs + 0.35 * worn, 0.7 * rib + 0.3 * slubs)


def _carpet(fields: Fields, size: int) -> Pattern:
    tufts = fields.cells((28, 36, 48)[size])
    pile = spread(fields.fractal(40, octaves=2) - 0.6 * tufts.center)
    brushed = fields.fractal(3, octaves=4)
    return Pattern(0.3 * fields.of_each(tufts) + 0.4 * pile + 0.3 * brushed, pile)


def _leather(fields: Fields, size: int) -> Pattern:
    bend = (fields.fractal(10, octaves=3) - 0.5) * 0.03
    pores = fields.cells((18, 26, 36)[size], 1.0, X + bend, Y - bend)
    crease = 1 - step(pores.edge, 0.0, 0.3)
    worn = fields.fractal(2, octaves=5)
    tone = 0.55 * worn + 0.2 * fields.of_each(pores) + 0.25 * (1 - crease)
    return Pattern(tone, 1 - 0.8 * crease + 0.2 * fields.fractal(32, octaves=2))


def _brushed_metal(fields: Fields, size: int) -> Pattern:
    streaks = fields.fractal(1, (48, 64, 96)[size], octaves=2)
    scratches = step(fields.fractal(2, 120, octaves=1), 0.85, 1.0)
    return Pattern(0.5 * streaks + 0.2 * scratches + 0.3 * fields.fractal(2, octaves=4), 0.3 * streaks)


def _rust(fields: Fields, size: int) -> Pattern:
    spots = fields.fractal(3 + size, octaves=6, weight=0.65)
    rough = fields.fractal(20, octaves=4, weight=0.7)
    rust = step(0.8 * spots + 0.2 * rough, (0.35, 0.45, 0.55)[size], (0.5, 0.6, 0.7)[size])
    tone = mixed(0.3 + 0.4 * fields.fractal(2), rough, rust)
    return Pattern(tone, rust * (0.5 + 0.5 * rough), rust * (0.6 + 0.4 * spots))


def _sand(fields: Fields, size: int) -> Pattern:
    bend = (fields.fractal(3, 2, octaves=4) - 0.5) * 0.16
    ripples = wave((Y + bend) * (5, 8, 12)[size])
    grain = fields.fractal(56, octaves=2)
    return Pattern(0.4 * ripples + 0.35 * grain + 0.25 * fields.fractal(2), 0.9 * ripples + 0.12 * grain)


def _grass(fields: Fields, size: int) -> Pattern:
    count = (24, 32, 44)[size]
    lean = [fields.fractal(count, 6, octaves=2, x=X + tilt * Y) for tilt in (-1, 0, 1)]
    blades = spread(np.maximum(np.maximum(lean[0], lean[1]), lean[2]) + 0.2 * fields.fractal(40, octaves=2))
    bare = step(fields.fractal(3, octaves=5), 0.55, 0.9)
    return Pattern(0.65 * blades + 0.35 * fields.fractal(4), blades, 0.5 * bare)


def _bark(fields: Fields, size: int) -> Pattern:
    bend = (fields.fractal(4, 3, octaves=4) - 0.5) * 0.1
    plates = ridges(fields.fractal((5, 7, 10)[size], 2, octaves=4, x=X + bend))
    fine = fields.fractal(32, 8, octaves=3, x=X + bend)
    height = step(1 - plates, 0.1, 0.8)
    return Pattern(0.55 * height + 0.45 * fine, height + 0.2 * fine, 0.6 * step(fields.fractal(3), 0.7, 0.95))


def _shingles(fields: Fields, size: int) -> Pattern:
    count = (6, 8, 10)[size]
    roof = fields.bricks(count, count * 3 // 2 // 2 * 2, 0.5)
    aside = 2 * roof.x - 1
    hem = 1 - step(1 - roof.y - 0.3 * aside * aside, 0.0, 0.08)
    rough = fields.fractal(16, octaves=4)
    tone = 0.4 * fields.of_each(roof) + 0.35 * rough + 0.25 * roof.y
    return Pattern(tone * (1 - 0.5 * hem), roof.y * (1 - hem) + 0.15 * rough, 0.4 * hem)


def _wicker(fields: Fields, size: int) -> Pattern:
    count = (8, 12, 16)[size]
    x, y = X * count, Y * count * 2
    column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    place = x - column
    arch = rounded(place)
    over = np.where((column + row) % 2 == 0, arch, 1 - arch)
    cane = rounded(y - row)
    streaks = fields.fractal(4, 60, octaves=2)
    tone = 0.35 * cane * over + 0.3 * streaks + 0.35 * fields.values(count * 2)[row % (count * 2)]
    return Pattern(tone, cane * (0.3 + 0.7 * over), 1 - step(cane * (0.3 + 0.7 * over), 0.05, 0.3))


def _parquet(fields: Fields, size: int) -> Pattern:
    count, strips = (4, 4, 6)[size], (4, 5, 4)[size]
    column, row = np.floor(X * count).astype(np.int64), np.floor(Y * count).astype(np.int64)
    lying = (column + row) % 2 == 0
    along, aside = np.where(lying, X, Y), np.where(lying, Y, X)
    slats = fields.bricks(count, count * strips, 0.0, along, aside)
    moved = fields.values(count * count * strips)[
        (column % count * count + row % count) * strips + slats.number // count % strips
    ]
    grain = _grain(fields, along + moved, aside + moved)
    gap = 1 - step(slats.edge, 0.02, 0.09)
    return Pattern(0.45 * moved + 0.55 * grain, (1 - gap) * (0.9 + 0.1 * grain), 0.8 * gap)


def _hexagons(fields: Fields, size: int) -> Pattern:
    floor = fields.cells((6, 8, 12)[size], 0.0)
    moved = fields.of_each(floor)
    mottle = fields.fractal(4, octaves=5, x=X + moved, y=Y)
    grout = 1 - step(floor.edge, 0.06, 0.12)
    tone = 0.45 * moved + 0.45 * mottle + 0.1 * fields.fractal(32, octaves=2)
    return Pattern(tone, (1 - grout) * step(floor.edge, 0.05, 0.25), grout)


def _cracked_earth(fields: Fields, size: int) -> Pattern:
    bend = (fields.fractal(8, octaves=4) - 0.5) * 0.07
    clods = fields.cells((6, 8, 12)[size], 1.0, X + bend, Y - bend)
    crack = 1 - step(clods.edge, 0.03, 0.12)
    rough = fields.fractal(8, octaves=5)
    tone = 0.25 * fields.of_each(clods) + 0.6 * rough + 0.15 * step(clods.edge, 0, 0.5)
    return Pattern(tone, (1 - crack) * (0.7 + 0.3 * rough), crack)


_PATTERNS: Mapping[Kind, Callable[[Fields, int], Pattern]] = MappingProxyType(
    {
        Kind.PLASTER: _plaster,
        Kind.ROCK: _rock,
        Kind.BRICKS: _bricks,
        Kind.PLANKS: _planks,
        Kind.WOOD: _wood,
        Kind.TILES: _tiles,
        Kind.COBBLES: _cobbles,
        Kind.GRAVEL: _gravel,
        Kind.TERRAZZO: _terrazzo,
        Kind.MARBLE: _marble,
        Kind.GRANITE: _granite,
        Kind.WEAVE: _weave,
        Kind.TWILL: _twill,
        Kind.CARPET: _carpet,
        Kind.LEATHER: _leather,
        Kind.BRUSHED_METAL: _brushed_metal,
        Kind.RUST: _rust,
        Kind.SAND: _sand,
        Kind.GRASS: _grass,
        Kind.BARK: _bark,
        Kind.SHINGLES: _shingles,
        Kind.WICKER: _wicker,
        Kind.PARQUET: _parquet,
        Kind.HEXAGONS: _hexagons,
        Kind.CRACKED_EARTH: _cracked_earth,
    }
)
