"""Sharpening in a window of the image for each object, which is faster on a processor. Not in the paper."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from astseg.model.label_rule.color_histograms import color_bins, histogram_log_likelihoods
from astseg.model.label_rule.mean_field import NUM_MEAN_FIELD_STEPS, neighbor_affinities, weighted_neighbor_sum
from astseg.model.label_rule.settings import LabelRule
from astseg.model.label_rule.sharpening import MIN_ENLARGED_WEIGHT, sharpened_size
from astseg.model.resizing import PixelsBetweenCells, resized

MIN_WINDOW_WEIGHT = 0.1
"""An object's window is around the cells in which it has this weight or more."""
WINDOW_MARGIN = 3
"""Cells of the model's size that a window has around these."""


class _Window(NamedTuple):
    """The part of an image that an object may own pixels of."""

    layer: int
    rows: slice
    columns: slice

    @property
    def pixels(self) -> tuple[slice, slice]:
        """The index of its pixels in a map."""
        return self.rows, self.columns


def sharpen_in_windows(
    weights: Float[Tensor, "layers rows columns"], image: Float[Tensor, "3 height width"], rule: LabelRule
) -> Float[Tensor, "layers height width"]:
    """Do for one image what `sharpen_weights` does, but let each object own pixels only near where it is already.

    Most objects are small, and the background is what they leave: so all is computed by log-odds against it.
    """
    size = sharpened_size(image.shape[-2:], weights.shape[-2:])
    sharp = weights.new_zeros(len(weights), *size)
    sharp[0] = 1
    windows = list(_object_windows(weights, size))
    if not windows:
        return sharp
    images = resized(image[None].to(weights.dtype), size)
    log_odds = _log_odds(weights, images, windows, rule)
    if rule.neighbor_pull:
        log_odds = _smoothed(log_odds, images, windows, rule)
    for window, share in zip(windows, _shares(log_odds, windows, size), strict=True):
        sharp[window.layer][window.pixels] = share
        sharp[0][window.pixels] -= share
    sharp[0].clamp_(min=0)
    return sharp


def _object_windows(weights: Float[Tensor, "layers rows columns"], size: tuple[int, int]) -> Iterator[_Window]:
    """Yield the window of each object in an image of a larger size."""
    least = min(MIN_WINDOW_WEIGHT, 0.5 / len(weights))  # the owner of a cell has more
    for layer, there in enumerate(weights.cpu() >= least):
        if layer and there.any():
            rows, columns = (_enlarged_span(there.any(dim), pixels) for dim, pixels in zip((1, 0), size, strict=True))
            yield _Window(layer, rows, columns)


def _enlarged_span(there: Bool[Tensor, "cells"], pixels: int) -> slice:
    """Return the pixels from the first to the last of the cells where something is, with a margin."""
    cells = len(there)
    found = there.nonzero()
    first, last = max(0, int(found[0]) - WINDOW_MARGIN), min(cells, int(found[-1]) + 1 + WINDOW_MARGIN)
    return slice(first * pixels // cells, -(-last * pixels // cells))


def _log_odds(
    weights: Float[Tensor, "layers rows columns"],
    images: Float[Tensor, "1 3 height width"],
    windows: list[_Window],
    rule: LabelRule,
) -> list[Float[Tensor, "_ _"]]:
    """Return each object's log-odds against the background in its window, without its neighbors'."""
    size = images.shape[-2:]
    weights = resized(weights[None], torch.Size(map(min, weights.shape[-2:], size)))[0]
    down, across = (PixelsBetweenCells.of(*pair, weights) for pair in zip(weights.shape[-2:], size, strict=True))
    background = _interpolated(weights[0], down, across)
    objects = [_interpolated(weights[layer], down.at(rows), across.at(columns)) for layer, rows, columns in windows]
    log_background = background.clamp(min=MIN_ENLARGED_WEIGHT).log()
    log_odds = [
        each.clamp(min=MIN_ENLARGED_WEIGHT).log() - log_background[window.pixels]
        for window, each in zip(windows, objects, strict=True)
    ]
    if rule.histogram_pull:
        owners = torch.zeros(size, dtype=torch.int64, device=weights.device)
        for number, (window, each) in enumerate(zip(windows, objects, strict=True), 1):
            larger = each > background[window.pixels]
            owners[window.pixels][larger] = number if rule.between_objects else 1
            background[window.pixels][larger] = each[larger]
        bins = color_bins(images)
        layers = 1 + (len(windows) if rule.between_objects else 1)
        of_colors = histogram_log_likelihoods(owners[None], bins, layers, weights.dtype)[0]
        gains = rule.histogram_pull * (of_colors[1:] - of_colors[0])
        for number, (window, each) in enumerate(zip(windows, log_odds, strict=True)):
            each += gains[number if rule.between_objects else 0][bins[0][window.pixels]]
    return log_odds


def _interpolated(
    weights: Float[Tensor, "rows columns"], down: PixelsBetweenCells, across: PixelsBetweenCells
) -> Float[Tensor, "height width"]:
    """Return the weights of a layer at some rows and columns of an image."""
    rows = weights[down.before].lerp(weights[down.after], down.share[:, None])
    return rows[:, across.before].lerp(rows[:, across.after], across.share)


def _smoothed(
    log_odds: list[Float[Tensor, "_ _"]],
    images: Float[Tensor, "1 3 height width"],
    windows: list[_Window],
    rule: LabelRule,
) -> list[Float[Tensor, "_ _"]]:
    """Return the log-odds with the pull of neighbors, after the steps of `mean_field_smoothing`."""
    size = images.shape[-2:]
    affinities, sums = zip(*(_affinities(images, window, rule.likeness) for window in windows), strict=True)
    smoothed = log_odds
    for _ in range(NUM_MEAN_FIELD_STEPS):
        pulls = [
            weighted_neighbor_sum(share, links)
            for share, links in zip(_shares(smoothed, windows, size), affinities, strict=True)
        ]
        of_objects = images.new_zeros(size)
        for window, pull in zip(windows, pulls, strict=True):
            of_objects[window.pixels] += pull
        smoothed = [
            pull.add_(of_objects[window.pixels]).sub_(whole).mul_(rule.neighbor_pull).add_(own)
            for window, pull, whole, own in zip(windows, pulls, sums, log_odds, strict=True)
        ]
    return smoothed


def _affinities(
    images: Float[Tensor, "1 3 height width"], window: _Window, likeness: float
) -> tuple[Float[Tensor, "neighbors _ _"], Float[Tensor, "_ _"]]:
    """Return the affinities of the pixels of a window to their neighbors, and their sums."""
    # With a pixel around the window where there is one, since neighbors there have the background's share.
    rows, columns = (slice(max(0, side.start - 1), side.stop + 1) for side in window.pixels)
    links = neighbor_affinities(images[..., rows, columns], likeness)[:, 0, 0]
    sums = weighted_neighbor_sum(torch.ones_like(links[0]), links)
    top, left = (min(side.start, 1) for side in window.pixels)
    height, width = (side.stop - side.start for side in window.pixels)
    inside = slice(top, top + height), slice(left, left + width)
    return links[:, *inside], sums[inside]


def _shares(
    log_odds: list[Float[Tensor, "_ _"]], windows: list[_Window], size: tuple[int, int] | torch.Size
) -> list[Float[Tensor, "_ _"]]:
    """Return the share of each object in the pixels of its window: softmax over all objects and the background."""
    largest = log_odds[0].new_zeros(size)  # the background's log-odds
    for window, each in zip(windows, log_odds, strict=True):
        torch.maximum(largest[window.pixels], each, out=largest[window.pixels])
    exponentials = [(each - largest[window.pixels]).exp_() for window, each in zip(windows, log_odds, strict=True)]
    total = largest.neg().exp_()
    for window, each in zip(windows, exponentials, strict=True):
        total[window.pixels] += each
    return [each / total[window.pixels] for window, each in zip(windows, exponentials, strict=True)]
