import pytest
import torch

from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.attention import CornerConvention, coordinate_map, soft_argmax, spatial_softmax
from astseg.model.slot_prior import SlotPositionPrior

CENTERS = torch.tensor([[0.3, -0.2], [-0.5, 0.4]])
WIDTHS = torch.tensor([[0.1, 0.15], [0.12, 0.08]])


@pytest.fixture
def prior() -> SlotPositionPrior:
    prior = SlotPositionPrior(2)
    with torch.no_grad():
        prior.centres.copy_(CENTERS)
        prior.inverse_widths.copy_(1 / WIDTHS)
    return prior


def test_a_new_prior_and_its_gradients_are_zero() -> None:
    prior = SlotPositionPrior(3)
    logits = prior((5, 7), "published")
    assert logits.shape == (3, 5, 7)
    assert not logits.any()
    assert not any(gradient.any() for gradient in torch.autograd.grad(logits.square().sum(), [*prior.parameters()]))


@pytest.mark.parametrize("convention", ["published", "consistent"])
def test_attention_by_the_prior_alone_is_a_normal_distribution(
    prior: SlotPositionPrior, convention: CornerConvention
) -> None:
    attention = spatial_softmax(prior((60, 80), convention))
    torch.testing.assert_close(soft_argmax(attention, convention), CENTERS, atol=1e-3, rtol=0)
    offsets = coordinate_map((60, 80), convention) - CENTERS[:, :, None, None]
    deviations = (attention[:, None] * offsets.square()).sum((-1, -2)).sqrt()
    torch.testing.assert_close(deviations, WIDTHS, atol=1e-3, rtol=0)


def test_gradients(prior: SlotPositionPrior) -> None:
    def logits(*parameters: torch.Tensor) -> torch.Tensor:
        values = dict(zip(("centres", "inverse_widths"), parameters, strict=True))
        result: torch.Tensor = torch.func.functional_call(prior, values, ((3, 4), "published"))
        return result

    inputs = [parameter.detach().double().requires_grad_() for parameter in prior.parameters()]
    assert torch.autograd.gradcheck(logits, inputs)


def test_only_slots_with_a_preferred_position_move() -> None:
    torch.manual_seed(0)
    shape = Architecture((32, 32), 3, "compact-unet", "none", background_network=None, slot_position_prior=True)
    model = AstSeg(shape).eval()
    prior, images = model.places, torch.rand(2, 3, 32, 32)
    assert prior is not None
    with torch.no_grad():
        model.places = None
        expected = model.encode(images)
        model.places = prior
        assert all(map(torch.equal, model.encode(images), expected))
        prior.centres[1] = torch.tensor([0.5, -0.5])
        prior.inverse_widths[1] = 20.0
        positions = model.encode(images).positions
    assert torch.equal(positions[:, [0, 2]], expected.positions[:, [0, 2]])
    torch.testing.assert_close(positions[:, 1], torch.tensor([[0.5, -0.5]]).expand(2, 2), atol=0.1, rtol=0)
