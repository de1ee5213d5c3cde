"""Sharpening within a window of the image for each object, which takes half the time on a processor. Not in the paper.

Most objects are small, and the background owns what they leave. So an object is computed only within its window, as
log-odds against the background.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from astseg.model.label_rule.color_histograms import color_bins, histogram_log_likelihoods
from astseg.model.label_rule.mean_field import NUM_MEAN_FIELD_STEPS, neighbor_affinities, weighted_neighbor_sum
from astseg.model.label_rule.settings import LabelRule
from astseg.model.label_rule.sharpening import MIN_ENLARGED_WEIGHT, sharpened_size
from astseg.model.resizing import PixelsBetweenCells, place_between_cells, resized

MIN_WINDOW_WEIGHT = 0.1
"""An object's window surrounds the cells in which it has at least this weight."""
WINDOW_MARGIN = 3
"""How many cells farther the window reaches on each side."""


class _Window:
    """The part of an image in which an object may own pixels, and what is known of it there."""

    layer: int
    pixels: tuple[slice, slice]
    """The rows and columns of the window."""
    prior: Float[Tensor, "_ _"]
    """The log-odds of the object against the background, without the pull of neighbors."""
    log_odds: Float[Tensor, "_ _"]
    """The same with it."""
    affinities: Float[Tensor, "neighbors _ _"]
    """The affinity of each pixel to its neighbors."""
    total_affinity: Float[Tensor, "_ _"]
    """Their sum, without neighbors beyond the image's border."""

    def __init__(self, layer: int, rows: slice, columns: slice) -> None:
        self.layer = layer
        self.pixels = rows, columns


def sharpen_in_windows(
    weights: Float[Tensor, "layers rows columns"], image: Float[Tensor, "3 height width"], rule: LabelRule
) -> Float[Tensor, "layers height width"]:
    """Do for one image what `sharpen_weights` does, but let objects own pixels only within their windows.

    Of 44 million labels of generated scenes and roads, 165 differed. In windows as large as the image, none would.
    """
    size = sharpened_size(image.shape[-2:], weights.shape[-2:])
    sharp = weights.new_zeros(len(weights), *size)
    sharp[0] = 1
    windows = list(_object_windows(weights, size))
    if not windows:
        return sharp
    images = resized(image[None].to(weights.dtype), size)
    _set_priors(windows, weights, images, rule)
    if rule.neighbor_pull:
        _smooth(windows, images, rule)
    for window, share in zip(windows, _shares(windows, size), strict=True):
        sharp[window.layer][window.pixels] = share
        sharp[0][window.pixels] -= share
    sharp[0].clamp_(min=0)  # but for rounding, it is not negative
    return sharp


def _object_windows(weights: Float[Tensor, "layers rows columns"], size: tuple[int, int]) -> Iterator[_Window]:
    """Yield the window of each object in an image of a larger size."""
    least = min(MIN_WINDOW_WEIGHT, 0.5 / len(weights))  # the owner of a cell has more
    for layer, cells in enumerate(weights[1:] >= least, 1):
        if cells.any():
            rows, columns = (_span(cells.any(dim), pixels) for dim, pixels in zip((1, 0), size, strict=True))
            yield _Window(layer, rows, columns)


def _span(cells: Bool[Tensor, "cells"], pixels: int) -> slice:
    """Return the pixels of a row that the cells are enlarged to, from the first to the last of them, with a margin."""
    found = cells.nonzero().squeeze(1).tolist()
    first, last = max(0, found[0] - WINDOW_MARGIN), min(len(cells), found[-1] + 1 + WINDOW_MARGIN)
    return slice(first * pixels // len(cells), -(-last * pixels // len(cells)))


def _set_priors(
    windows: Sequence[_Window],
    weights: Float[Tensor, "layers rows columns"],
    images: Float[Tensor, "1 3 height width"],
    rule: LabelRule,
) -> None:
    """Compute the log-odds of objects by their enlarged weights and the colors that they own."""
    size = images.shape[-2:]
    weights, down, across = place_between_cells(weights, size)
    largest = _enlarged(weights[0], down, across)
    log_background = largest.clamp(min=MIN_ENLARGED_WEIGHT).log()
    owners = torch.zeros(size, dtype=torch.int64, device=weights.device)
    for number, window in enumerate(windows, 1):
        rows, columns = window.pixels
        enlarged = _enlarged(weights[window.layer], down.at(rows), across.at(columns))
        window.prior = enlarged.clamp(min=MIN_ENLARGED_WEIGHT).log() - log_background[window.pixels]
        larger = enlarged > largest[window.pixels]
        owners[window.pixels][larger] = number if rule.between_objects else 1
        largest[window.pixels][larger] = enlarged[larger]
    if rule.histogram_pull:
        bins = color_bins(images)
        histograms = len(windows) + 1 if rule.between_objects else 2
        background, *objects = histogram_log_likelihoods(owners[None], bins, histograms, weights.dtype)[0]
        for number, window in enumerate(windows):
            gains = objects[number if rule.between_objects else 0] - background
            window.prior += rule.histogram_pull * gains[bins[0][window.pixels]]
    for window in windows:
        window.log_odds = window.prior


def _enlarged(
    weights: Float[Tensor, "rows columns"], down: PixelsBetweenCells, across: PixelsBetweenCells
) -> Float[Tensor, "height width"]:
    """Return the weights of a layer at some rows and columns of an image."""
    rows = weights[down.before].lerp(weights[down.after], down.share[:, None])
    return rows[:, across.before].lerp(rows[:, across.after], across.share)


def _smooth(windows: Sequence[_Window], images: Float[Tensor, "1 3 height width"], rule: LabelRule) -> None:
    """Add the pull of neighbors to the log-odds, in the steps of `mean_field_smoothing`.

    What the objects leave of a neighbor is the background's, and so is a neighbor's share beyond an object's window.
    """
    size = images.shape[-2:]
    for window in windows:
        window.affinities, window.total_affinity = _affinities(images, *window.pixels, rule.likeness)
    for _ in range(NUM_MEAN_FIELD_STEPS):
        pulls = [
            weighted_neighbor_sum(share, window.affinities)
            for window, share in zip(windows, _shares(windows, size), strict=True)
        ]
        to_objects = images.new_zeros(size)
        for window, pull in zip(windows, pulls, strict=True):
            to_objects[window.pixels] += pull
        for window, pull in zip(windows, pulls, strict=True):
            to_background = window.total_affinity - to_objects[window.pixels]
            window.log_odds = pull.sub_(to_background).mul_(rule.neighbor_pull).add_(window.prior)


def _affinities(
    images: Float[Tensor, "1 3 _ _"], rows: slice, columns: slice, likeness: float
) -> tuple[Float[Tensor, "neighbors height width"], Float[Tensor, "height width"]]:
    """Return the affinity of each pixel of a window to its neighbors in the image, and the sum of these."""
    above, before = min(1, rows.start), min(1, columns.start)  # neighbors outside the window, if the image has any
    around = images[..., rows.start - above : rows.stop + 1, columns.start - before : columns.stop + 1]
    links = neighbor_affinities(around, likeness)[:, 0, 0]
    total = weighted_neighbor_sum(torch.ones_like(links[0]), links)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    inside = slice(above, above + height), slice(before, before + width)
    return links[:, *inside], total[inside]


def _shares(windows: Sequence[_Window], size: tuple[int, int] | torch.Size) -> list[Float[Tensor, "_ _"]]:
    """Return the share of each object in the pixels of its window: the softmax of all objects and the background."""
    largest = windows[0].log_odds.new_zeros(size)  # the background's log-odds
    for window in windows:
        torch.maximum(largest[window.pixels], window.log_odds, out=largest[window.pixels])
    exponentials = [(window.log_odds - largest[window.pixels]).exp_() for window in windows]
    total = largest.neg().exp_()
    for window, exponential in zip(windows, exponentials, strict=True):
        total[window.pixels] += exponential
    return [each.div_(total[window.pixels]) for window, each in zip(windows, exponentials, strict=True)]
