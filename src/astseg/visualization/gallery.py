"""Image grids: what a model makes of images, and the sample grids of the paper (figures 2 to 8)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from jaxtyping import Integer, UInt8
from PIL import Image, ImageDraw, ImageFont
from scipy.optimize import linear_sum_assignment

from astseg._core.image_conversion import from_uint8_images, to_uint8_images
from astseg.evaluation.contingency import contingency_tables
from astseg.model.ast_seg import AstSeg
from astseg.model.rendering import Rendering
from astseg.model.resizing import resized
from astseg.visualization.colors import contours, label_colors, overlay

RGB = UInt8[np.ndarray, "_ _ 3"]  # sizes may differ from one image to the next
Labels = Integer[np.ndarray, "_ _"]
Value = TypeVar("Value", bound=np.generic)

PANEL_SIDE = 160
"""Small images are enlarged by an integer factor, so that their longer side has about this many pixels."""
LABEL_OPACITY = 0.72  # opaque enough to distinguish neighbors, transparent enough to see the object
GRAY_LEVEL = 0.5
"""What shows where a slot has no weight, 0 to 1."""
PAGE_COLOR = (250, 250, 249)
TEXT_COLOR = (38, 38, 38)
FADING = 0.75  # share of the page color in panels of slots that own no pixel
GAP = 8
TITLE_SIZE = 14
HEADING_SIZE = 18


@dataclass(frozen=True)
class VisualizationSample:
    """An image and what a model makes of it."""

    image: RGB
    labels: Labels
    """The segmentation: 0 is the background, k is slot k."""
    truth: Labels | None = None
    reconstruction: RGB | None = None
    """None for a model without a background network, as are `background` and `slots`."""
    background: RGB | None = None
    slots: UInt8[np.ndarray, "slots height width 3"] | None = None
    """Each slot's rendering, weighted per pixel over neutral gray."""


@dataclass(frozen=True)
class Panel:
    """One image of a row, enlarged."""

    title: str
    image: RGB
    faded: bool = False
    """Whether it is of a slot that owns no pixel, and is to be dimmed."""


def sample(
    model: AstSeg,
    images: UInt8[np.ndarray, "batch height width 3"],
    truths: UInt8[np.ndarray, "batch height width"] | None = None,
) -> list[VisualizationSample]:
    """Segment and reconstruct a few images.

    Args:
        model: on any device, in any mode.
        images: RGB, of any size.
        truths: their true labels, if known.
    """
    prepared = from_uint8_images(images, next(model.parameters()).device)
    painted = model.background is not None
    found, rendering = model.segment_with_rendering(prepared, paint_background=painted)
    known = [None] * len(images) if truths is None else [np.array(truth) for truth in truths]
    samples = [
        VisualizationSample(np.array(image), labels, truth)
        for image, labels, truth in zip(images, found.labels.cpu().numpy(), known, strict=True)
    ]
    return _with_layers(rendering, samples) if painted else samples


def panels(sample: VisualizationSample) -> list[Panel]:
    """Return the panels of a sample's row: input, truth, reconstruction, segmentation, background, single slots.

    What a sample lacks is left out. A true object has the color of the slot that was matched to it, so that it looks
    the same in truth and segmentation.
    """
    factor = enlargement_factor(sample.labels.shape)
    image, labels = enlarge(sample.image, factor), enlarge(sample.labels, factor)
    ground = grayscale(image)  # so that an object's own color is not taken for a label's
    row = [Panel("Input", image)]
    if sample.truth is not None:
        truth = enlarge(renumber_like_slots(sample.truth, sample.labels), factor)
        row.append(Panel("Truth", overlay(ground, truth, LABEL_OPACITY)))
    if sample.reconstruction is not None:
        row.append(Panel("Reconstruction", enlarge(sample.reconstruction, factor)))
    row.append(Panel("Segmentation", overlay(ground, labels, LABEL_OPACITY)))
    if sample.background is not None:
        row.append(Panel("Background", enlarge(sample.background, factor)))
    for number, slot in enumerate(() if sample.slots is None else sample.slots, start=1):
        own = labels == number
        panel = np.array(enlarge(slot, factor))
        edge = contours(own.astype(np.uint8))
        panel[edge] = label_colors(number)[number]
        row.append(Panel(f"Slot {number}", panel, faded=not own.any()))
    return row


def panel_rows(samples: Sequence[VisualizationSample]) -> list[list[Panel]]:
    """Return the panels of several samples.

    Raises:
        ValueError: the samples have different panels.
    """
    rows = [panels(sample) for sample in samples]
    if len({tuple(panel.title for panel in row) for row in rows}) > 1:
        raise ValueError("the samples should all have the same panels")
    return rows


def draw_samples(samples: Sequence[VisualizationSample]) -> Image.Image:
    """Draw one row of panels per sample, with titles above the first row.

    Raises:
        ValueError: there are no samples, or they have different panels.
    """
    rows = panel_rows(samples)
    if not rows:
        raise ValueError("a grid needs samples")
    images = [[fade(panel.image) if panel.faded else panel.image for panel in row] for row in rows]
    grid, centers = _grid(images, TITLE_SIZE + 2 * GAP)
    for center, panel in zip(centers, rows[0], strict=True):
        _write(grid, panel.title, (center, GAP), TITLE_SIZE, centered=True)
    return grid


def draw_pairs(groups: Mapping[str, Sequence[tuple[RGB, Labels]]], pairs_per_row: int = 4) -> Image.Image:
    """Draw the paper's sample grids: each image beside its segmentation, several pairs in a row.

    Args:
        groups: images and labels by heading, such as a data set's name; an empty heading is not drawn.
        pairs_per_row: the number of pairs in a row.

    Raises:
        ValueError: there is nothing to draw.
    """
    drawn = {heading: [_pair(*pair) for pair in pairs] for heading, pairs in groups.items() if len(pairs)}
    if not drawn or pairs_per_row < 1:
        raise ValueError("a grid needs at least one pair, and one pair in a row")
    blocks = [_block(heading, pairs, pairs_per_row) for heading, pairs in drawn.items()]
    grid = Image.new("RGB", (max(block.width for block in blocks), sum(block.height for block in blocks)), PAGE_COLOR)
    top = 0
    for block in blocks:
        grid.paste(block, (0, top))
        top += block.height
    return grid


def enlargement_factor(size: tuple[int, ...]) -> int:
    """Return the integer factor that brings an image's longer side near `PANEL_SIDE`; 1 for large images."""
    return max(1, round(PANEL_SIDE / max(size)))


def enlarge(image: npt.NDArray[Value], factor: int) -> npt.NDArray[Value]:
    """Return an image or label map with every pixel repeated `factor` times in both directions."""
    return image.repeat(factor, 0).repeat(factor, 1)


def grayscale(image: RGB) -> RGB:
    """Return an image without its colors (the luma of ITU-R BT.601)."""
    return np.asarray(Image.fromarray(image).convert("L").convert("RGB"))


def fade(image: RGB) -> RGB:
    """Return an image blended into the page color."""
    mixed: RGB = (image + FADING * (np.array(PAGE_COLOR) - image)).round().astype(np.uint8)
    return mixed


def renumber_like_slots(truth: Labels, labels: Labels) -> Labels:
    """Renumber true labels like the slots that share most pixels with them, so that both get the same color.

    True objects without a slot get the lowest numbers that no slot has in this image.
    """
    shared = contingency_tables(labels[None], truth[None])[0][1:, 1:]
    slots, objects = linear_sum_assignment(shared, maximize=True)
    names = {int(t) + 1: int(s) + 1 for s, t in zip(slots, objects, strict=True) if shared[s, t]}
    taken = {*names.values(), *np.unique(labels).tolist(), 0}
    free = (number for number in range(1, 256) if number not in taken)
    table = np.zeros(int(truth.max(initial=0)) + 1, np.uint8)
    for label in np.unique(truth[truth > 0]).tolist():
        table[label] = names[label] if label in names else next(free, 255)
    renamed: Labels = table[truth]
    return renamed


def _with_layers(rendering: Rendering, samples: list[VisualizationSample]) -> list[VisualizationSample]:
    """Return the samples with their rendering at the images' size."""
    shares = rendering.weights[:, 1:, None]
    slots = rendering.layers * shares + GRAY_LEVEL * (1 - shares)
    size = samples[0].image.shape[:2]
    return [
        replace(
            one,
            reconstruction=to_uint8_images(resized(rendering.image[index : index + 1], size))[0],
            background=to_uint8_images(resized(rendering.background[index : index + 1], size))[0],
            slots=to_uint8_images(resized(slots[index], size)),
        )
        for index, one in enumerate(samples)
    ]


def _pair(image: RGB, labels: Labels) -> RGB:
    """Return an image beside its segmentation in flat colors."""
    factor = enlargement_factor(labels.shape)
    return np.hstack((enlarge(image, factor), label_colors(int(labels.max(initial=0)))[enlarge(labels, factor)]))


def _block(heading: str, pairs: Sequence[RGB], pairs_per_row: int) -> Image.Image:
    """Draw pairs in rows below a heading."""
    rows = [pairs[start : start + pairs_per_row] for start in range(0, len(pairs), pairs_per_row)]
    block, _ = _grid(rows, GAP + (HEADING_SIZE + GAP if heading else 0))
    if heading:
        _write(block, heading, (GAP, GAP), HEADING_SIZE, centered=False)
    return block


def _grid(rows: Sequence[Sequence[RGB]], top: int) -> tuple[Image.Image, list[int]]:
    """Draw rows of images from `top` pixels down; also return the center of each column."""
    height, width = (max(image.shape[axis] for row in rows for image in row) for axis in (0, 1))
    left = [GAP + column * (width + GAP) for column in range(len(rows[0]))]
    grid = Image.new("RGB", (left[-1] + width + GAP, top + len(rows) * (height + GAP)), PAGE_COLOR)
    for index, row in enumerate(rows):
        for x, image in zip(left, row, strict=False):
            grid.paste(Image.fromarray(image), (x, top + index * (height + GAP)))
    return grid, [x + width // 2 for x in left]


def _write(grid: Image.Image, text: str, place: tuple[int, int], size: int, *, centered: bool) -> None:
    font = ImageFont.load_default(size)
    ImageDraw.Draw(grid).text(place, text, fill=TEXT_COLOR, font=font, anchor="ma" if centered else "la")
