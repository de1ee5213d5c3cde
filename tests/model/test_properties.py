"""Properties of the formulas on whatever Hypothesis draws."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from astseg.model.attention import soft_argmax, spatial_softmax
from astseg.model.rendering import composite, compositing_weights

ROWS, COLUMNS, SLOTS = 7, 9, 3
SHARES = st.floats(0, 1, width=32)


def tensors(*shape: int, low: float = -20, high: float = 20) -> st.SearchStrategy[Tensor]:
    values = st.floats(low, high, allow_nan=False)
    return arrays("float64", shape, elements=values).map(torch.from_numpy)


LAYERS = tensors(1, SLOTS, 3, ROWS, COLUMNS, low=0, high=1)
BACKGROUND = tensors(1, 3, ROWS, COLUMNS, low=0, high=1)
MASKS = tensors(1, SLOTS, ROWS, COLUMNS, low=0, high=1)
ACTIVATIONS = tensors(1, SLOTS, low=-200, high=200)


@settings(deadline=None)
@given(tensors(3, 4), st.integers(0, ROWS - 3), st.integers(0, COLUMNS - 4))
def test_soft_argmax_moves_with_its_blob(blob: Tensor, down: int, across: int) -> None:
    def placed(row: int, column: int) -> Tensor:
        logits = torch.full((1, 1, ROWS, COLUMNS), -1e4, dtype=torch.float64)
        logits[0, 0, row : row + 3, column : column + 4] = blob
        return soft_argmax(spatial_softmax(logits))[0, 0]

    moved = placed(down, across) - placed(0, 0)
    expected = torch.tensor([2 * across / (COLUMNS - 1), 2 * down / (ROWS - 1)], dtype=torch.float64)
    torch.testing.assert_close(moved, expected, atol=1e-9, rtol=0)


@settings(deadline=None)
@given(tensors(1, 1, ROWS, COLUMNS, low=-1e4, high=1e4))
def test_soft_argmax_of_a_mirrored_map_is_mirrored(logits: Tensor) -> None:
    position = soft_argmax(spatial_softmax(logits))
    assert position.abs().max() <= 1 + 1e-9
    for axis, sign in ((-1, [-1.0, 1.0]), (-2, [1.0, -1.0])):
        mirrored = soft_argmax(spatial_softmax(logits.flip(axis)))
        torch.testing.assert_close(mirrored, position * torch.tensor(sign, dtype=torch.float64), atol=1e-9, rtol=0)


@settings(deadline=None)
@given(MASKS, ACTIVATIONS, st.floats(-200, 200))
def test_weights_lie_between_zero_and_one_and_sum_to_one(masks: Tensor, activations: Tensor, background: float) -> None:
    weights = compositing_weights(masks, activations, torch.full((1, 1), background, dtype=torch.float64))
    assert (weights >= 0).all()
    assert (weights <= 1).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(1, ROWS, COLUMNS, dtype=torch.float64))


@given(MASKS, ACTIVATIONS, LAYERS, BACKGROUND, st.permutations(range(SLOTS)))
@settings(max_examples=50, deadline=None)
def test_the_order_of_slots_does_not_matter(
    masks: Tensor, activations: Tensor, layers: Tensor, background: Tensor, order: list[int]
) -> None:
    own = torch.zeros(1, 1, dtype=torch.float64)
    weights = compositing_weights(masks, activations, own)
    permuted = compositing_weights(masks[:, order], activations[:, order], own)
    torch.testing.assert_close(permuted, weights[:, [0, *(slot + 1 for slot in order)]])
    torch.testing.assert_close(
        composite(permuted, background, layers[:, order]), composite(weights, background, layers), atol=1e-9, rtol=0
    )


@given(MASKS, ACTIVATIONS, LAYERS, LAYERS, BACKGROUND, SHARES)
@settings(max_examples=50, deadline=None)
def test_rendering_is_linear_in_colors(
    masks: Tensor, activations: Tensor, first: Tensor, second: Tensor, background: Tensor, share: float
) -> None:
    weights = compositing_weights(masks, activations, torch.zeros(1, 1, dtype=torch.float64))
    mixed = composite(weights, background, share * first + (1 - share) * second)
    apart = [composite(weights, background, layers) for layers in (first, second)]
    torch.testing.assert_close(mixed, share * apart[0] + (1 - share) * apart[1], atol=1e-9, rtol=0)
    assert mixed.min() >= -1e-9
    assert mixed.max() <= 1 + 1e-9
