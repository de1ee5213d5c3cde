"""The fixed catalogue: 60 materials for training and 25 others, each a small record that a tile is painted from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from astseg.data.scenes.materials.fields import Field, Fields
from astseg.data.scenes.materials.patterns import Kind, pattern
from astseg.data.scenes.materials.tiles import Tile, tile_of
from astseg.data.scenes.random_source import RandomSource
from astseg.data.scenes.vectors import Vector

CATALOGUE_SEED = 0
"""What the catalogue is drawn by. Another one, like any change of a pattern, makes other materials of all names."""

STONE: tuple[Vector, ...] = (
    (0.52, 0.51, 0.48),
    (0.62, 0.54, 0.43),
    (0.36, 0.38, 0.40),
    (0.68, 0.66, 0.61),
    (0.46, 0.36, 0.31),
    (0.40, 0.43, 0.37),
    (0.27, 0.27, 0.28),
)
CLAY: tuple[Vector, ...] = ((0.52, 0.28, 0.21), (0.60, 0.44, 0.32), (0.38, 0.25, 0.21), (0.66, 0.58, 0.44))
TIMBER: tuple[Vector, ...] = (
    (0.55, 0.40, 0.25),
    (0.36, 0.24, 0.16),
    (0.66, 0.53, 0.37),
    (0.45, 0.42, 0.38),
    (0.46, 0.26, 0.16),
)
GLAZE: tuple[Vector, ...] = ((0.72, 0.71, 0.67), (0.26, 0.36, 0.44), (0.34, 0.44, 0.38), (0.55, 0.36, 0.27))
FABRIC: tuple[Vector, ...] = (
    (0.22, 0.26, 0.38),
    (0.46, 0.17, 0.17),
    (0.38, 0.38, 0.26),
    (0.68, 0.63, 0.53),
    (0.27, 0.27, 0.29),
    (0.22, 0.40, 0.41),
    (0.60, 0.47, 0.22),
    (0.38, 0.26, 0.36),
)
HIDE: tuple[Vector, ...] = ((0.38, 0.24, 0.16), (0.20, 0.18, 0.17), (0.55, 0.40, 0.26), (0.36, 0.15, 0.14))
METAL: tuple[Vector, ...] = ((0.56, 0.57, 0.58), (0.60, 0.42, 0.31), (0.58, 0.49, 0.30), (0.36, 0.37, 0.40))
EARTH: tuple[Vector, ...] = ((0.66, 0.57, 0.42), (0.42, 0.32, 0.23), (0.50, 0.38, 0.30), (0.60, 0.56, 0.50))
PLANT: tuple[Vector, ...] = ((0.28, 0.36, 0.17), (0.36, 0.38, 0.22), (0.46, 0.42, 0.24), (0.22, 0.31, 0.20))
RUSTY: Vector = (0.46, 0.26, 0.15)


@dataclass(frozen=True)
class _Look:
    """What the materials of a kind have in common."""

    colors: tuple[Vector, ...]
    inlays: tuple[Vector, ...]
    """Second colors, before they are varied."""
    contrast: tuple[float, float]
    """Range of how much darker and lighter than its main color a material becomes, as a share."""
    relief: float
    """Steepness of the surface: height in sides of a tile."""
    shine: tuple[float, float] = (0.02, 0.06)
    """Range of the strength of highlights."""
    gloss: int = 3


MORTAR = ((0.58, 0.56, 0.52), (0.40, 0.39, 0.37), (0.66, 0.62, 0.56))
DARK = ((0.10, 0.08, 0.07), (0.14, 0.12, 0.10))
JOINTS = ((0.26, 0.24, 0.21), (0.20, 0.19, 0.18))
CHIPS = ((0.24, 0.22, 0.21), (0.56, 0.36, 0.27), (0.30, 0.38, 0.36))

LOOKS: Mapping[Kind, _Look] = MappingProxyType(
    {
        Kind.PLASTER: _Look(STONE + CLAY, DARK, (0.16, 0.30), 0.012),
        Kind.ROCK: _Look(STONE, DARK, (0.30, 0.48), 0.05),
        Kind.BRICKS: _Look(CLAY, MORTAR, (0.25, 0.42), 0.012),
        Kind.PLANKS: _Look(TIMBER, DARK, (0.25, 0.42), 0.008),
        Kind.WOOD: _Look(TIMBER, DARK, (0.22, 0.38), 0.003, (0.08, 0.25), 5),
        Kind.TILES: _Look(GLAZE + STONE, MORTAR, (0.12, 0.28), 0.006, (0.15, 0.45), 6),
        Kind.COBBLES: _Look(STONE, JOINTS, (0.28, 0.45), 0.02),
        Kind.GRAVEL: _Look(STONE + EARTH, DARK, (0.35, 0.5), 0.012),
        Kind.TERRAZZO: _Look(STONE[3:5] + GLAZE + EARTH, CHIPS, (0.25, 0.4), 0.0, (0.15, 0.4), 6),
        Kind.MARBLE: _Look((STONE[3], GLAZE[2], STONE[6], GLAZE[0]), STONE[2:5], (0.14, 0.3), 0.0, (0.2, 0.5), 6),
        Kind.GRANITE: _Look(STONE, DARK, (0.25, 0.42), 0.0, (0.1, 0.3), 6),
        Kind.WEAVE: _Look(FABRIC, DARK, (0.22, 0.4), 0.008),
        Kind.TWILL: _Look(FABRIC, DARK, (0.2, 0.36), 0.004),
        Kind.CARPET: _Look(FABRIC, DARK, (0.25, 0.42), 0.014),
        Kind.LEATHER: _Look(HIDE, DARK, (0.2, 0.36), 0.005, (0.15, 0.35), 4),
        Kind.BRUSHED_METAL: _Look(METAL, DARK, (0.1, 0.22), 0.0012, (0.5, 0.9), 4),
        Kind.RUST: _Look(METAL, (RUSTY,), (0.2, 0.35), 0.010, (0.1, 0.3), 3),
        Kind.SAND: _Look(EARTH, DARK, (0.14, 0.28), 0.018),
        Kind.GRASS: _Look(PLANT, EARTH, (0.35, 0.5), 0.016),
        Kind.BARK: _Look(TIMBER + STONE[4:6], PLANT, (0.35, 0.5), 0.03),
        Kind.SHINGLES: _Look(CLAY + STONE[2:3], DARK, (0.25, 0.4), 0.02),
        Kind.WICKER: _Look(TIMBER, DARK, (0.25, 0.42), 0.014, (0.05, 0.15), 4),
        Kind.PARQUET: _Look(TIMBER, DARK, (0.25, 0.4), 0.004, (0.1, 0.3), 5),
        Kind.HEXAGONS: _Look(GLAZE + STONE, MORTAR, (0.2, 0.35), 0.006, (0.15, 0.4), 6),
        Kind.CRACKED_EARTH: _Look(EARTH, JOINTS, (0.2, 0.35), 0.02),
    }
)

UNSEEN_KINDS = (Kind.SHINGLES, Kind.WICKER, Kind.PARQUET, Kind.HEXAGONS, Kind.CRACKED_EARTH)
"""Kinds that only unseen materials have."""
KNOWN_KINDS = tuple(kind for kind in Kind if kind not in UNSEEN_KINDS)
RETURNING_KINDS = KNOWN_KINDS[::2]
"""Kinds of which one more material is unseen."""
MATERIALS_PER_KIND = 3

WARMTH = 0.03
"""How far a material's hue drifts between warm and cool over a tile."""


@dataclass(frozen=True)
class CatalogueMaterial:
    """A material: all that its tile is painted from."""

    name: str
    kind: Kind
    seed: int
    size: int
    """0 to 2, from coarse to fine."""
    color: Vector
    inlay: Vector
    contrast: float
    relief: float
    specular: float
    gloss: int

    def paint(self) -> Tile:
        """Return the material's tile."""
        fields = Fields(self.seed)
        drawn = pattern(self.kind, fields, self.size)
        shade = self.contrast * (2 * drawn.tone - 1)
        drift = WARMTH * (2 * fields.fractal(2, octaves=4) - 1)
        colors = [
            _blend(_shaded(part, shade) + drift * warm, second, drawn.inlay)
            for part, second, warm in zip(self.color, self.inlay, (1.0, 0.2, -1.0), strict=True)
        ]
        return tile_of(np.stack([np.clip(color, 0.0, 1.0) for color in colors], -1), drawn.height * self.relief)


def _shaded(part: float, shade: Field) -> Field:
    """Darken a color towards black, or lighten it halfway towards white."""
    return part + shade * np.where(shade < 0, part, 0.6 * (1 - part * 0.5))


def _blend(color: Field, second: float, share: Field) -> Field:
    return color + (second * (0.7 + 0.6 * color) - color) * share


def _draw(kind: Kind, number: int) -> CatalogueMaterial:
    """Draw the record of a kind's material of a number."""
    source = RandomSource("materials", 1, CATALOGUE_SEED, list(Kind).index(kind) * 16 + number)
    look = LOOKS[kind]
    return CatalogueMaterial(
        name=f"{kind} {number + 1}",
        kind=kind,
        seed=source.word(),
        size=number % MATERIALS_PER_KIND,
        color=_varied(source, look.colors[number % len(look.colors)]),
        inlay=_varied(source, source.choice(look.inlays)),
        contrast=source.uniform(*look.contrast),
        relief=look.relief * source.uniform(0.7, 1.3),
        specular=source.uniform(*look.shine),
        gloss=look.gloss,
    )


def _varied(source: RandomSource, color: Vector) -> Vector:
    """Return a color a little lighter or darker, and of a slightly other hue."""
    light = source.uniform(0.85, 1.15)
    red, green, blue = (light * part + source.uniform(-0.015, 0.015) for part in color)
    return red, green, blue


def _drawn_kinds(kinds: tuple[Kind, ...]) -> Iterator[CatalogueMaterial]:
    return (_draw(kind, number) for kind in kinds for number in range(MATERIALS_PER_KIND))


TRAINING_MATERIALS: tuple[CatalogueMaterial, ...] = tuple(_drawn_kinds(KNOWN_KINDS))
"""Three materials of each known kind."""

UNSEEN_MATERIALS: tuple[CatalogueMaterial, ...] = (
    *_drawn_kinds(UNSEEN_KINDS),
    *(_draw(kind, MATERIALS_PER_KIND) for kind in RETURNING_KINDS),
)
"""Three materials of each unseen kind, and another one of every second known kind."""
