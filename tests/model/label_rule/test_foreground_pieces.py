from itertools import product

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from astseg.model.label_rule.foreground_pieces import explain_foreground
from astseg.model.layer_owners import layer_owners

Pixel = tuple[int, int]


def one_hot(labels: np.ndarray, layers: int, weight: float = 0.9) -> Tensor:
    """Weights by which each pixel's layer owns it."""
    rest = (1 - weight) / (layers - 1)
    owned = torch.nn.functional.one_hot(torch.tensor(labels), layers).movedim(-1, 0)
    return (rest + (weight - rest) * owned)[None]


def pieces_of(foreground: np.ndarray) -> list[set[Pixel]]:
    """The pieces whose pixels touch, also by a corner, found pixel by pixel."""
    left = {(int(i), int(j)) for i, j in np.argwhere(foreground)}
    pieces = []
    while left:
        piece, front = set(), [left.pop()]
        while front:
            i, j = front.pop()
            piece.add((i, j))
            near = {(i + down, j + right) for down, right in product((-1, 0, 1), repeat=2)} & left
            left -= near
            front += near
        pieces.append(piece)
    return pieces


def nearest_distances(pixel: Pixel, owners: np.ndarray, among: set[Pixel], slots: list[int]) -> dict[int, float]:
    """The distance of a pixel to the nearest of each slot's pixels."""
    return {slot: min(np.hypot(pixel[0] - i, pixel[1] - j) for i, j in among if owners[i, j] == slot) for slot in slots}


def blobs(random: np.random.Generator, share: float) -> np.ndarray:
    smooth = ndimage.gaussian_filter(random.random((18, 23)), 1.5)
    return np.asarray(smooth > np.quantile(smooth, 1 - share))


@pytest.mark.parametrize("seed", range(5))
def test_each_pixel_goes_to_the_nearest_large_slot_of_its_piece(seed: int) -> None:
    random = np.random.default_rng(seed)
    owners = np.where(blobs(random, 0.3), 1 + (blobs(random, 0.5) + 2 * blobs(random, 0.2)), 0).astype(np.int64)
    weights, foreground = one_hot(owners, 6), one_hot(blobs(random, 0.4).astype(np.int64), 2)
    weights[:, 5] += 0.01 * weights[:, 0] * torch.rand(owners.shape, generator=torch.Generator().manual_seed(seed))
    weights /= weights.sum(1, keepdim=True)
    found = explain_foreground(weights, foreground)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 18, 23))
    torch.testing.assert_close(found[:, 0], foreground[:, 0])
    labels = layer_owners(found)[0].numpy()
    expected = (foreground[0, 1] > 0.5).numpy()
    np.testing.assert_array_equal(labels > 0, expected)
    alone = 0
    for piece in pieces_of(expected):
        counts = {slot: sum(owners[pixel] == slot for pixel in piece) for slot in range(1, 6)}
        large = [slot for slot, count in counts.items() if count and count >= len(piece) / 5]
        if not large:
            alone += 1
            heaviest = max(range(1, 6), key=lambda slot: sum(float(weights[0, slot, *pixel]) for pixel in piece))
            assert {int(labels[pixel]) for pixel in piece} == {heaviest}
        for pixel in piece if large else ():
            distances = nearest_distances(pixel, owners, piece, large)
            assert distances[int(labels[pixel])] == min(distances.values())
    assert alone or seed  # one of them has a piece that no slot owns


def test_the_surroundings_of_a_piece_belong_to_its_slot() -> None:
    """So that weights which are enlarged do not change their slot at the rim."""
    owners = np.zeros((8, 20), np.int64)
    owners[2:6, 2:6], owners[2:6, 14:18] = 2, 1
    found = explain_foreground(one_hot(owners, 3), one_hot((owners > 0).astype(np.int64), 2))
    slots = found[0, 1:].argmax(0) + 1
    assert (slots[:, :9] == 2).all()
    assert (slots[:, 11:] == 1).all()


def test_nothing_is_found_where_nothing_is() -> None:
    nothing = np.zeros((5, 6), np.int64)
    found = explain_foreground(one_hot(nothing, 4), one_hot(nothing, 2))
    assert not layer_owners(found).any()


def test_images_do_not_mix() -> None:
    random = np.random.default_rng(0)
    weights = torch.cat([one_hot(random.integers(0, 4, (9, 11)), 4) for _ in range(3)])
    foreground = torch.cat([one_hot(random.integers(0, 2, (9, 11)), 2) for _ in range(3)])
    found = explain_foreground(weights, foreground)
    for index in range(3):
        alone = explain_foreground(weights[index : index + 1], foreground[index : index + 1])
        torch.testing.assert_close(found[index : index + 1], alone)
