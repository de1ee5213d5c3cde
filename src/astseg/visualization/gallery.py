"""Grids of images: what a model makes of an image, and the sample grids of the paper (figures 2 to 8)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Integer, UInt8
from PIL import Image, ImageDraw, ImageFont
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from astseg._core.image_conversion import from_uint8_images, to_uint8_images
from astseg.evaluation.metrics import contingency_tables
from astseg.model.ast_seg import AstSeg
from astseg.model.resizing import resized
from astseg.visualization.colors import contours, label_colors, overlay

RGB = UInt8[np.ndarray, "_ _ 3"]  # sizes may differ from one image to the next
Labels = Integer[np.ndarray, "_ _"]
Value = TypeVar("Value", bound=np.generic)

PANEL_SIDE = 160
"""Small images are enlarged by a whole factor until their longer side is about this many pixels."""
LABEL_OPACITY = 0.72  # flat enough to tell neighbors apart, clear enough to see what was taken for an object
GREY = 0.5
"""What shows through where a slot has no weight."""
PAPER = (250, 250, 249)
INK = (38, 38, 38)
FADED = 0.75  # how much of a panel without a pixel of its own gives way to the paper
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
    """None, like the background and the slots, for a model that cannot paint a background."""
    background: RGB | None = None
    slots: UInt8[np.ndarray, "slots height width 3"] | None = None
    """What each slot paints, by its weight in each pixel, on neutral grey."""


@dataclass(frozen=True)
class Panel:
    """One image of a row, enlarged."""

    title: str
    image: RGB
    faded: bool = False
    """A slot that owns no pixel: to be shown dimmed."""


def sample(
    model: AstSeg,
    images: UInt8[np.ndarray, "batch height width 3"],
    truths: UInt8[np.ndarray, "batch height width"] | None = None,
) -> list[VisualizationSample]:
    """Segment and reconstruct a handful of images.

    Args:
        model: on any device, in any mode.
        images: RGB, of any size.
        truths: their true labels where they are known.
    """
    prepared = from_uint8_images(images, next(model.parameters()).device)
    labels = model.segment(prepared).labels.cpu().numpy()
    known = [None] * len(images) if truths is None else [np.array(truth) for truth in truths]
    samples = [
        VisualizationSample(np.array(image), found, truth)
        for image, found, truth in zip(images, labels, known, strict=True)
    ]
    return samples if model.background is None else _with_layers(model, prepared, samples)


def panels(sample: VisualizationSample) -> list[Panel]:
    """Return the images of a sample's row: input, truth, reconstruction, segmentation, background, single slots.

    What a sample does not have is left out. A true object has the color of the slot that was matched to it,
    so that one object looks the same in truth and segmentation.
    """
    factor = enlargement(sample.labels.shape)
    image, labels = enlarged(sample.image, factor), enlarged(sample.labels, factor)
    ground = grayscale(image)  # an object's own color must not pass for a label's
    row = [Panel("Input", image)]
    if sample.truth is not None:
        truth = enlarged(colored_alike(sample.truth, sample.labels), factor)
        row.append(Panel("Truth", overlay(ground, truth, LABEL_OPACITY)))
    if sample.reconstruction is not None:
        row.append(Panel("Reconstruction", enlarged(sample.reconstruction, factor)))
    row.append(Panel("Segmentation", overlay(ground, labels, LABEL_OPACITY)))
    if sample.background is not None:
        row.append(Panel("Background", enlarged(sample.background, factor)))
    for number, slot in enumerate(() if sample.slots is None else sample.slots, start=1):
        own = labels == number
        panel = np.array(enlarged(slot, factor))
        edge = contours(own.astype(np.uint8))
        panel[edge] = label_colors(number)[number]
        row.append(Panel(f"Slot {number}", panel, faded=not own.any()))
    return row


def draw_samples(samples: Sequence[VisualizationSample]) -> Image.Image:
    """One row per sample with the panels of `panels`, the titles above the first row.

    Raises:
        ValueError: no samples came, or samples of several kinds, whose columns would not stand below each
            other.
    """
    rows = [panels(sample) for sample in samples]
    if not rows or any([panel.title for panel in row] != [panel.title for panel in rows[0]] for row in rows):
        raise ValueError("a grid needs samples, all with the same panels")
    height, width = (max(panel.image.shape[axis] for row in rows for panel in row) for axis in (0, 1))
    left = [GAP + column * (width + GAP) for column in range(len(rows[0]))]
    top = TITLE_SIZE + 2 * GAP
    grid = Image.new("RGB", (left[-1] + width + GAP, top + len(rows) * (height + GAP)), PAPER)
    for x, panel in zip(left, rows[0], strict=True):
        _write(grid, panel.title, (x + width // 2, GAP), TITLE_SIZE, centered=True)
    for index, row in enumerate(rows):
        for x, panel in zip(left, row, strict=True):
            image = faded(panel.image) if panel.faded else panel.image
            grid.paste(Image.fromarray(image), (x, top + index * (height + GAP)))
    return grid


def draw_pairs(groups: Mapping[str, Sequence[tuple[RGB, Labels]]], pairs_per_row: int = 4) -> Image.Image:
    """Return the paper's sample grids: each image beside its segmentation, several pairs in a row.

    Args:
        groups: images with their labels under a heading, such as a data set's name; an empty heading is left
            out.
        pairs_per_row: how many pairs stand beside each other.

    Raises:
        ValueError: there is nothing to draw.
    """
    drawn = {heading: [_pair(*pair) for pair in pairs] for heading, pairs in groups.items() if len(pairs)}
    if not drawn or pairs_per_row < 1:
        raise ValueError("a grid needs at least one pair, and one pair in a row")
    blocks = [_block(heading, pairs, pairs_per_row) for heading, pairs in drawn.items()]
    grid = Image.new("RGB", (max(block.width for block in blocks), sum(block.height for block in blocks)), PAPER)
    top = 0
    for block in blocks:
        grid.paste(block, (0, top))
        top += block.height
    return grid


def enlargement(size: tuple[int, ...]) -> int:
    """Return the whole factor that brings an image's longer side near `PANEL_SIDE`; 1 for what is large already."""
    return max(1, round(PANEL_SIDE / max(size)))


def enlarged(image: npt.NDArray[Value], factor: int) -> npt.NDArray[Value]:
    """Return an image or label map with every pixel repeated `factor` times in both directions."""
    return image.repeat(factor, 0).repeat(factor, 1)


def grayscale(image: RGB) -> RGB:
    """Return an image without its colors (the luma of ITU-R BT.601)."""
    return np.asarray(Image.fromarray(image).convert("L").convert("RGB"))


def faded(image: RGB) -> RGB:
    """Return an image that has nearly given way to the paper."""
    mixed: RGB = (image + FADED * (np.array(PAPER) - image)).round().astype(np.uint8)
    return mixed


def colored_alike(truth: Labels, labels: Labels) -> Labels:
    """Rename true labels to the numbers of the slots that share most pixels with them, for their colors' sake.

    True objects that no slot is matched to take numbers that no slot has in this image, from the lowest up.
    """
    shared = contingency_tables(labels[None], truth[None])[0][1:, 1:]
    slots, objects = linear_sum_assignment(shared, maximize=True)
    names = {int(t) + 1: int(s) + 1 for s, t in zip(slots, objects, strict=True) if shared[s, t]}
    taken = {*names.values(), *np.unique(labels).tolist(), 0}
    free = (number for number in range(1, 256) if number not in taken)
    table = np.zeros(int(truth.max(initial=0)) + 1, np.uint8)
    for label in np.unique(truth[truth > 0]).tolist():
        table[label] = names[label] if label in names else next(free)
    renamed: Labels = table[truth]
    return renamed


def _with_layers(
    model: AstSeg, images: Float[Tensor, "batch 3 height width"], samples: list[VisualizationSample]
) -> list[VisualizationSample]:
    """Return the samples with what the model paints, at the images' size."""
    rendering = model.reconstruct(resized(images, model.image_size))
    shares = rendering.weights[:, 1:, None]
    slots = rendering.layers * shares + GREY * (1 - shares)
    size = images.shape[-2:]
    return [
        VisualizationSample(
            one.image,
            one.labels,
            one.truth,
            reconstruction=to_uint8_images(resized(rendering.image[index : index + 1], size))[0],
            background=to_uint8_images(resized(rendering.background[index : index + 1], size))[0],
            slots=to_uint8_images(resized(slots[index], size)),
        )
        for index, one in enumerate(samples)
    ]


def _pair(image: RGB, labels: Labels) -> RGB:
    """Return an image beside its segmentation in flat colors."""
    factor = enlargement(labels.shape)
    return np.hstack((enlarged(image, factor), label_colors(int(labels.max(initial=0)))[enlarged(labels, factor)]))


def _block(heading: str, pairs: Sequence[RGB], pairs_per_row: int) -> Image.Image:
    """Pairs in rows below a heading."""
    height, width = (max(pair.shape[axis] for pair in pairs) for axis in (0, 1))
    top = GAP + (HEADING_SIZE + GAP if heading else 0)
    rows = -(-len(pairs) // pairs_per_row)
    columns = min(len(pairs), pairs_per_row)
    block = Image.new("RGB", (GAP + columns * (width + GAP), top + rows * (height + GAP)), PAPER)
    if heading:
        _write(block, heading, (GAP, GAP), HEADING_SIZE, centered=False)
    for index, pair in enumerate(pairs):
        row, column = divmod(index, pairs_per_row)
        block.paste(Image.fromarray(pair), (GAP + column * (width + GAP), top + row * (height + GAP)))
    return block


def _write(grid: Image.Image, text: str, place: tuple[int, int], size: int, *, centered: bool) -> None:
    font = ImageFont.load_default(size)
    ImageDraw.Draw(grid).text(place, text, fill=INK, font=font, anchor="ma" if centered else "la")
