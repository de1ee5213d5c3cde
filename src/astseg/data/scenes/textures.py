"""Solid textures: the share of a material's second color at a point in space.

Regular patterns are averaged over the surface patch of a sample by exact integrals, so that in the distance they become
an even mixture instead of aliasing. Irregular ones fade to an even mixture.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from astseg.data.scenes.description import Texture
from astseg.data.scenes.noise import noise
from astseg.data.scenes.vectors import dot

MIN_WIDTH = 0.02
"""Minimum width that patterns are averaged over, in periods."""

DOT_RADIUS = 0.34
MORTAR_WIDTH = 0.12
"""Width of the joints between bricks, in periods."""


def second_color_share(
    texture: Texture, place: Float[Tensor, "3 rays"], width: Float[Tensor, " rays"]
) -> Float[Tensor, " rays"]:
    """Return the second color's share, 0 to 1, averaged over a patch of the given width; both in periods."""
    return _PATTERNS[texture](place, width.clamp(min=MIN_WIDTH))


def _wave(x: Tensor, width: Tensor) -> Tensor:
    """Return a square wave of period 1 between -1 and 1, averaged over a width."""

    def integral(end: Tensor) -> Tensor:
        part = end - torch.floor(end)
        return torch.minimum(part, 1 - part)

    half = width * 0.5
    return (integral(x + half) - integral(x - half)) / width


def _pulse(x: Tensor, width: Tensor, on: float) -> Tensor:
    """Return 1 in the part `on` of each period and 0 in the rest, averaged over a width."""

    def integral(end: Tensor) -> Tensor:
        whole = torch.floor(end)
        return whole * on + (end - whole).clamp(max=on)

    half = width * 0.5
    return (integral(x + half) - integral(x - half)) / width


def _ramp(x: Tensor) -> Tensor:
    """Return a triangle wave of period 1 between 0 and 1."""
    return (x - torch.floor(x) - 0.5).abs() * 2


def _contrast(value: Tensor, factor: float) -> Tensor:
    return ((value - 0.5) * factor + 0.5).clamp(0, 1)


def _fading(value: Tensor, width: Tensor, mean: float = 0.5) -> Tensor:
    """Fade to the mean as the width grows from half a period to one and a half."""
    return mean + (value - mean) * (1.5 - width).clamp(0, 1)


def _checker(place: Tensor, width: Tensor) -> Tensor:
    x, y, z = place
    return 0.5 - 0.5 * _wave(x, width) * _wave(y, width) * _wave(z + 0.25, width)


def _stripes(place: Tensor, width: Tensor) -> Tensor:
    return 0.5 - 0.5 * _wave(place[0] + 0.5 * place[2], width)


def _bricks(place: Tensor, width: Tensor) -> Tensor:
    # Rows along y and z are each shifted by half a brick, so that floors and all walls look like brickwork.
    x, y, z = place
    layer = torch.floor(z * 2 + 0.5)
    across = y * 1.25 + layer * 0.5
    along = x * 0.6 + (torch.floor(across) + layer) * 0.5
    brick = (1 - _pulse(along, width * 0.6, MORTAR_WIDTH * 0.6)) * (
        1 - _pulse(across, width * 1.25, MORTAR_WIDTH * 1.25)
    )
    return brick * (1 - _pulse(z * 2 + 0.5, width * 2, MORTAR_WIDTH * 2))


def _tiles(place: Tensor, width: Tensor) -> Tensor:
    x, y, z = place
    grid = (1 - _pulse(x, width, MORTAR_WIDTH)) * (1 - _pulse(y, width, MORTAR_WIDTH))
    return grid * (1 - _pulse(z + 0.5, width, MORTAR_WIDTH))


def _dots(place: Tensor, width: Tensor) -> Tensor:
    # Cells are centered on integers, so that a plane through the origin cuts the dots in half.
    cell = place - torch.floor(place + 0.5)
    edge = (DOT_RADIUS - torch.sqrt(dot(cell, cell))) / width + 0.5
    return _fading(edge.clamp(0, 1), width, 0.3)


def _marble(place: Tensor, width: Tensor) -> Tensor:
    bands = _ramp(place[0] * 0.6 + place[1] * 0.35 + noise(place * 0.5) * 1.6)
    return _fading(bands * bands, width)


def _clouds(place: Tensor, width: Tensor) -> Tensor:
    return _fading(noise(place * 0.7), width)


def _wood(place: Tensor, width: Tensor) -> Tensor:
    x, y, z = place
    along = torch.stack((x * 0.15, y, z))
    rings = torch.sqrt(y * y + (z + 0.7) * (z + 0.7)) * 1.2 + noise(along * 0.5) * 0.7
    return _fading(_ramp(rings), width)


def _veins(place: Tensor, width: Tensor) -> Tensor:
    ridge = 1 - (noise(place * 0.6) * 2 - 1).abs() * 4
    return _fading(ridge.clamp(0, 1), width, 0.25)


def _granite(place: Tensor, width: Tensor) -> Tensor:
    return _fading(_contrast(noise(place * 1.7), 3.5), width * 1.7)


def _shells(place: Tensor, width: Tensor) -> Tensor:
    return 0.5 - 0.5 * _wave(torch.sqrt(dot(place, place)), width)


def _zigzag(place: Tensor, width: Tensor) -> Tensor:
    x, y, z = place
    return 0.5 - 0.5 * _wave(x + 0.6 * _ramp(y * 0.8) + 0.5 * z, width * 1.4)


def _camouflage(place: Tensor, width: Tensor) -> Tensor:
    return _fading(_contrast(noise(place * 0.45), 9.0), width * 0.5)


def _weave(place: Tensor, width: Tensor) -> Tensor:
    x, y, z = place
    over = 0.5 - 0.5 * _wave(x * 0.5, width * 0.5) * _wave(y * 0.5 + 0.5 * z, width * 0.5)
    return over * _fading(_ramp(x), width) + (1 - over) * _fading(_ramp(y + z), width)


def _plain(place: Tensor, width: Tensor) -> Tensor:
    return torch.zeros_like(width + place[0])


_PATTERNS: dict[Texture, Callable[[Tensor, Tensor], Tensor]] = {
    Texture.PLAIN: _plain,
    Texture.CHECKER: _checker,
    Texture.STRIPES: _stripes,
    Texture.BRICKS: _bricks,
    Texture.TILES: _tiles,
    Texture.DOTS: _dots,
    Texture.MARBLE: _marble,
    Texture.CLOUDS: _clouds,
    Texture.WOOD: _wood,
    Texture.VEINS: _veins,
    Texture.GRANITE: _granite,
    Texture.SHELLS: _shells,
    Texture.ZIGZAG: _zigzag,
    Texture.CAMOUFLAGE: _camouflage,
    Texture.WEAVE: _weave,
}
