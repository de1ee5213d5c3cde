from typing import Any

import pytest
import torch

from astseg.model.attention import ObjectQueries
from astseg.model.refinement import NoRefinement, TransformerLayout, TransformerRefinement


def queries(num_slots: int = 5) -> ObjectQueries:
    generator = torch.Generator().manual_seed(0)
    return ObjectQueries(
        torch.randn(2, num_slots, 2, generator=generator), torch.randn(2, num_slots, 7, generator=generator)
    )


def small(**options: Any) -> TransformerRefinement:
    torch.manual_seed(0)
    layout = TransformerLayout(dimension=16, heads=2, feedforward=32, layers=2)
    return TransformerRefinement(7, layout=layout, **options).eval()


def test_the_paper_s_transformer() -> None:
    refinement = TransformerRefinement(34)
    layer = refinement.transformer.layers[0]
    assert len(refinement.transformer.layers) == 6
    assert layer.self_attn.embed_dim == 256
    assert layer.self_attn.num_heads == 8
    assert layer.linear1.out_features == 512
    assert layer.dropout.p == layer.dropout1.p == layer.self_attn.dropout == 0.1
    assert layer.activation is torch.nn.functional.relu
    assert not layer.norm_first, "post-norm"
    assert refinement.transformer.norm is None
    assert refinement.embedding.weight.shape == (256, 36)
    assert refinement.projection.weight.shape == (36, 256)


def test_slots_have_no_order() -> None:
    refinement, found, order = small(), queries(), torch.tensor([3, 0, 4, 1, 2])
    refined = refinement(found)
    permuted = refinement(ObjectQueries(found.positions[:, order], found.features[:, order]))
    torch.testing.assert_close(permuted.positions, refined.positions[:, order])
    torch.testing.assert_close(permuted.features, refined.features[:, order])


def test_slots_see_each_other_but_not_other_images() -> None:
    refinement, found = small(), queries()
    changed = found.features.clone()
    changed[0, 4] += 1
    difference = (refinement(ObjectQueries(found.positions, changed)).features - refinement(found).features).abs()
    assert (difference[0].amax(-1) > 1e-6).all()
    assert difference[1].max() < 1e-6


def test_columns_are_x_y_then_features() -> None:
    """Computed again from the parts."""
    refinement, found = small(), queries()
    columns = torch.cat((found.positions, found.features), -1)
    expected = refinement.projection(refinement.transformer(refinement.embedding(columns)))
    refined = refinement(found)
    torch.testing.assert_close(torch.cat((refined.positions, refined.features), -1), expected)


def test_residual_begins_as_the_identity_and_can_leave_it() -> None:
    refinement, found = small(residual=True).train(), queries()
    refined = refinement(found)
    assert (refined.positions == found.positions).all()
    assert (refined.features == found.features).all()
    refined.features.square().sum().backward()
    assert refinement.projection.weight.grad is not None
    assert refinement.projection.weight.grad.any()


def test_none_is_the_identity() -> None:
    found = queries()
    assert NoRefinement()(found) is found
    assert not list(NoRefinement().parameters())


@pytest.mark.parametrize("change", [{"layers": 0}, {"dropout": 1.0}, {"heads": 3}])
def test_impossible_transformers(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=rf"^{next(iter(change))} should be "):
        TransformerLayout(**change)
