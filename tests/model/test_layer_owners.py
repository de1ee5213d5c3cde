import torch
from hypothesis import given
from hypothesis import strategies as st

from astseg.model.layer_owners import layer_owners


@given(st.integers(1, 5), st.integers(1, 40), st.integers(1, 3), st.integers(0, 2**32))
def test_as_argmax_also_of_equal_weights(layers: int, pixels: int, values: int, seed: int) -> None:
    weights = torch.randint(values, (2, layers, pixels), generator=torch.Generator().manual_seed(seed)).float()
    for dim in range(3):
        assert torch.equal(layer_owners(weights, dim), weights.argmax(dim))


def test_of_equal_weights_the_first() -> None:
    assert layer_owners(torch.ones(1, 4, 3, 50)).eq(0).all()
