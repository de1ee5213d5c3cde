"""A place for each slot."""

import pytest
import torch

from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.attention import CornerConvention, coordinate_map, soft_argmax, spatial_softmax
from astseg.model.slot_prior import SlotPositionPrior

CENTRES = torch.tensor([[0.3, -0.2], [-0.5, 0.4]])
WIDTHS = torch.tensor([[0.1, 0.15], [0.12, 0.08]])


@pytest.fixture
def places() -> SlotPositionPrior:
    places = SlotPositionPrior(2)
    with torch.no_grad():
        places.centres.copy_(CENTRES)
        places.inverse_widths.copy_(1 / WIDTHS)
    return places


def test_a_new_one_prefers_nothing_and_has_no_gradient() -> None:
    places = SlotPositionPrior(3)
    logits = places((5, 7), "published")
    assert logits.shape == (3, 5, 7)
    assert not logits.any()
    logits.square().sum().backward()
    assert not any(parameter.grad.any() for parameter in places.parameters())


@pytest.mark.parametrize("convention", ["published", "consistent"])
def test_attention_that_nothing_else_draws_is_a_normal_distribution(
    places: SlotPositionPrior, convention: CornerConvention
) -> None:
    attention = spatial_softmax(places((60, 80), convention))
    torch.testing.assert_close(soft_argmax(attention, convention), CENTRES, atol=1e-3, rtol=0)
    offsets = coordinate_map((60, 80), convention) - CENTRES[:, :, None, None]
    deviations = (attention[:, None] * offsets.square()).sum((-1, -2)).sqrt()
    torch.testing.assert_close(deviations, WIDTHS, atol=1e-3, rtol=0)


def test_gradients(places: SlotPositionPrior) -> None:
    def logits(centres: torch.Tensor, inverse_widths: torch.Tensor) -> torch.Tensor:
        values = {"centres": centres, "inverse_widths": inverse_widths}
        return torch.func.functional_call(places, values, ((3, 4), "published"))

    inputs = [parameter.detach().double().requires_grad_() for parameter in places.parameters()]
    assert torch.autograd.gradcheck(logits, inputs)


def test_only_the_positions_of_slots_with_places_of_their_own_move() -> None:
    models = []
    for slot_position_prior in (False, True):
        torch.manual_seed(0)
        shape = Architecture(
            (32, 32), 3, "compact-unet", "none", background_network="region", slot_position_prior=slot_position_prior
        )
        models.append(AstSeg(shape).eval())
    without, with_places = models
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = without.encode(images)
        for found, same in zip(with_places.encode(images), expected, strict=True):
            assert torch.equal(found, same)
        with_places.places.centres[1] = torch.tensor([0.5, -0.5])
        with_places.places.inverse_widths[1] = 20.0
        positions = with_places.encode(images).positions
    assert torch.equal(positions[:, [0, 2]], expected.positions[:, [0, 2]])
    torch.testing.assert_close(positions[:, 1], torch.tensor([[0.5, -0.5]]).expand(2, 2), atol=0.1, rtol=0)
