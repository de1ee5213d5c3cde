"""Draw images of kinds for which nothing in astseg was chosen, with their true masks.

python benchmarks/other_images.py OUT

OUT/cells: 192x192, grey, 5 to 17 bright cells under uneven light, with noise. OUT/sprites: 64x64, up to four flat
shapes of any color on a ground of any color. OUT/belt: 240x320, a static camera above a conveyor belt with up to four
parcels and fruits and their shadows, its exposure within 8 % of the mean. Each with ``train``, ``test`` and
``test-masks``, the same on every machine that has the same numpy, scipy and Pillow.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

Drawn = tuple[np.ndarray, np.ndarray]
"""An image of 0 to 255 and the labels of its pixels."""

PARCEL_COLORS = np.array([[180, 120, 60], [200, 200, 205], [110, 60, 40], [70, 90, 130]])


def turned(rows: np.ndarray, columns: np.ndarray, x: float, y: float, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates of pixels along and across a shape at a place and angle."""
    along = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
    across = -(columns - x) * np.sin(angle) + (rows - y) * np.cos(angle)
    return along, across


def draw_cells(random: np.random.Generator) -> Drawn:
    """Draw bright cells under uneven light; one that would cover others is left out."""
    side = 192
    rows, columns = np.mgrid[:side, :side]
    far = (columns - side * random.uniform(0.3, 0.7)) ** 2 + (rows - side * random.uniform(0.3, 0.7)) ** 2
    image = np.full((side, side), 22.0) + 12 * np.exp(-far / (2 * (side * 0.5) ** 2))
    labels = np.zeros((side, side), int)
    for label in range(1, random.integers(5, 18) + 1):
        x, y = random.uniform(8, side - 8, 2)
        length, width = random.uniform(8, 16, 2)
        along, across = turned(rows, columns, x, y, random.uniform(0, np.pi))
        distance = (along / length) ** 2 + (across / width) ** 2
        inside = distance < 1
        if (labels[inside] > 0).mean() > 0.2:
            continue
        labels[inside] = label
        texture = gaussian_filter(random.normal(0, 1, (side, side)), 2)
        texture /= texture.std()
        image = np.where(inside, random.uniform(60, 160) * (1 - 0.3 * distance) + 8 * texture, image)
    image = gaussian_filter(image, 0.8) + random.normal(0, 4, (side, side))
    return np.repeat(image[..., None], 3, 2), labels


def draw_sprites(random: np.random.Generator) -> Drawn:
    """Draw flat squares, ellipses and hearts, which may hide each other."""
    side = 64
    rows, columns = np.mgrid[:side, :side]
    image = np.ones((side, side, 3)) * random.uniform(0, 255, 3)
    labels = np.zeros((side, side), int)
    for label in range(1, random.integers(1, 5) + 1):
        x, y = random.uniform(10, side - 10, 2)
        radius = random.uniform(6, 12)
        u, v = turned(rows, columns, x, y, random.uniform(0, 2 * np.pi))
        shapes = (
            np.maximum(abs(u), abs(v)) < radius * 0.8,
            (u / radius) ** 2 + (v / (radius * 0.6)) ** 2 < 1,
            (u**2 + v**2 - (radius * 0.7) ** 2) ** 3 / radius**6 < u**2 * v**3 / radius**5,  # a heart
        )
        inside = shapes[random.integers(3)]
        labels[inside] = label
        image[inside] = random.uniform(0, 255, 3)
    return image, labels


def draw_belt(random: np.random.Generator) -> Drawn:
    """Draw parcels and fruits on a conveyor belt, with shadows."""
    height, width = 240, 320
    rows, columns = np.mgrid[:height, :width]
    belt = np.full((height, width, 3), (92.0, 94.0, 98.0))
    belt += gaussian_filter(np.random.default_rng(7).normal(0, 40, (height, width)), 1.2)[..., None]
    belt[:30], belt[-30:] = [60, 60, 62], [58, 60, 64]
    belt[::24] -= 10
    image, labels = belt * random.uniform(0.92, 1.08), np.zeros((height, width), int)
    for label in range(1, random.integers(0, 5) + 1):
        x, y = random.uniform(20, width - 20), random.uniform(60, height - 60)
        half_length, half_width = random.uniform(14, 26, 2)
        along, across = turned(rows, columns, x, y, random.normal(0, 0.3))
        is_parcel = random.integers(2)
        inside = (along / half_length) ** 2 + (across / half_width) ** 2 < 1
        if is_parcel:
            inside = (abs(along) < half_length) & (abs(across) < half_width)
        if (labels[inside] > 0).any():
            continue
        color = PARCEL_COLORS[random.integers(4)] * random.uniform(0.85, 1.1)
        image[np.roll(inside, (5, 6), (0, 1)) & ~inside] *= 0.7  # its shadow
        image[inside] = color * (1 + 0.15 * (across[inside] / half_width))[:, None]
        labels[inside] = label
        if is_parcel:
            image[inside & (abs(across) < half_width * 0.15)] = [190, 170, 120]
    return image + random.normal(0, 3, image.shape), labels


def write(folder: Path, draw: Callable[[np.random.Generator], Drawn], random: np.random.Generator, count: int) -> None:
    """Write images to learn from, 60 others, and the masks of both."""
    for split, images in (("train", count), ("test", 60)):
        places = folder / split, folder / f"{split}-masks"
        for place in places:
            place.mkdir(parents=True)
        for index in range(images):
            for place, pixels in zip(places, draw(random), strict=True):
                Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(place / f"{index:04d}.png")


def main() -> None:
    """Write all three kinds."""
    random, out = np.random.default_rng(0), Path(sys.argv[1])
    for name, draw, count in (("cells", draw_cells, 400), ("sprites", draw_sprites, 3000), ("belt", draw_belt, 500)):
        write(out / name, draw, random, count)


if __name__ == "__main__":
    main()
