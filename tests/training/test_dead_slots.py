from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from astseg.data.store import Bytes
from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.features.build import FeatureNetwork
from astseg.training import dead_slots
from astseg.training.batches import Batch
from astseg.training.config import Recipe
from astseg.training.dead_slots import DeadSlotReset, reinitialize_dead_slots
from astseg.training.loop import Trainer
from astseg.training.muon import Muon

CPU = torch.device("cpu")

SLOTS = 4
NUMBERED = torch.arange(100.0).view(100, 1, 1, 1).expand(100, 3, 2, 2)


def found_in(images: torch.Tensor, *shares: float) -> SimpleNamespace:
    """A segmentation in which the slots own a pixel each in such shares of 100 numbered images of 2x2."""
    masks = torch.zeros(len(images), len(shares), 2, 2, dtype=torch.bool)
    for slot, share in enumerate(shares):
        masks[images[:, 0, 0, 0] < round(100 * share), slot, slot // 2, slot % 2] = True
    return SimpleNamespace(masks=masks)


@pytest.fixture(params=["compact-unet", "unet", "segformer-b0"])
def model(request: pytest.FixtureRequest) -> AstSeg:
    network: FeatureNetwork = request.param
    torch.manual_seed(0)
    return AstSeg(Architecture((32, 32), SLOTS, network, refinement="none", background_network="region"))


def reset(model: AstSeg, monkeypatch: pytest.MonkeyPatch, *shares: float) -> list[int]:
    monkeypatch.setattr(model, "segment", lambda images, *, use_label_rule: found_in(images, *shares))
    return reinitialize_dead_slots(model, torch.optim.Adam(model.parameters()), Batch(NUMBERED))


def test_rows_are_half_the_busiest_slots(model: AstSeg, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows = model.feature_maps.output_layer.weight.detach().clone()
    assert reset(model, monkeypatch, 0.0, 0.6, 0.9, 0.01) == [0, 3]
    now = model.feature_maps.output_layer.weight
    assert (now[0] == rows[2] / 2).all()
    assert (now[3] == rows[1] / 2).all()  # after the first took half of slot 2's, slot 1 is the busiest
    untouched = [1, 2, *range(SLOTS, len(rows))]
    assert (now[untouched] == rows[untouched]).all()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed <= {name for name in before if name.startswith("feature_maps.")}
    assert len(changed) <= 2


def test_rows_come_first_in_the_maps(model: AstSeg) -> None:
    images = torch.rand(1, 3, 32, 32)
    model.eval()
    with torch.no_grad():
        before = model.feature_maps(images)
        model.feature_maps.output_layer.weight[1] += 1
        differ = (model.feature_maps(images) != before).flatten(2).any(-1)[0]
    assert differ.nonzero().flatten().tolist() == [1]


def test_slots_that_find_something_are_left_alone(model: AstSeg, monkeypatch: pytest.MonkeyPatch) -> None:
    before = model.feature_maps.output_layer.weight.detach().clone()
    assert reset(model, monkeypatch, 0.02, 1.0, 0.5, 0.1) == []
    assert (model.feature_maps.output_layer.weight == before).all()


def test_where_no_slot_finds_anything_there_is_no_example(model: AstSeg, monkeypatch: pytest.MonkeyPatch) -> None:
    before = model.feature_maps.output_layer.weight.detach().clone()
    assert reset(model, monkeypatch, 0.0, 0.0, 0.0, 0.0) == []
    assert (model.feature_maps.output_layer.weight == before).all()


def test_adam_forgets_where_the_slot_was_going(model: AstSeg, monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.rand(2, 3, 32, 32)).image.sum().backward()
    optimizer.step()
    monkeypatch.setattr(model, "segment", lambda images, *, use_label_rule: found_in(images, 0.5, 0.0, 0.2, 0.2))
    for rows in model.feature_maps.output_layer.parameters():
        optimizer.state[rows]["exp_avg"] += 1
        optimizer.state[rows]["exp_avg_sq"][0] += 1
    assert reinitialize_dead_slots(model, optimizer, Batch(NUMBERED)) == [1]
    for rows in model.feature_maps.output_layer.parameters():
        state = optimizer.state[rows]
        assert not state["exp_avg"][1].any()
        assert state["exp_avg"][0].any()
        assert torch.equal(state["exp_avg_sq"][1], state["exp_avg_sq"][0])


def test_muon_forgets_where_the_slot_was_going(model: AstSeg, monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer = Muon(model.parameters(), 1e-3)
    model(torch.rand(2, 3, 32, 32)).image.sum().backward()
    optimizer.step()
    monkeypatch.setattr(model, "segment", lambda images, *, use_label_rule: found_in(images, 0.5, 0.0, 0.2, 0.2))
    momentum = optimizer.state[model.feature_maps.output_layer.weight]["momentum"]
    momentum += 1
    assert reinitialize_dead_slots(model, optimizer, Batch(NUMBERED)) == [1]
    assert not momentum[1].any()
    assert momentum[[0, 2, 3]].any()


@pytest.mark.parametrize(("until", "expected"), [(3, [2]), (4, [2, 4]), (100, [2, 4, 6])])
def test_happens_at_intervals_up_to_a_step(
    until: int,
    expected: list[int],
    tiny_recipe: Recipe,
    tiny_images: Bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resets: list[int] = []

    def note(model: AstSeg, optimizer: torch.optim.Optimizer, batch: Batch) -> list[int]:
        assert len(batch.images) == 256
        resets.append(trainer.state.steps_done - tiny_recipe.background.steps)
        return []

    monkeypatch.setattr(dead_slots, "reinitialize_dead_slots", note)
    trainer = Trainer(tiny_recipe, tiny_images, tmp_path, CPU, callbacks=[DeadSlotReset(until, interval=2)])
    trainer.run()
    assert resets == expected  # three steps of objects, three of both


def test_a_reset_slot_shares_the_busiest_slots_place(monkeypatch: pytest.MonkeyPatch) -> None:
    model = AstSeg(
        Architecture((32, 32), 4, "compact-unet", "none", background_network="region", slot_position_prior=True)
    )
    assert model.places is not None
    with torch.no_grad():
        model.places.centres.copy_(torch.arange(8.0).view(4, 2) / 10)
        model.places.inverse_widths.copy_(torch.arange(1.0, 9.0).view(4, 2))
        before = model.places((8, 8), "published")
        assert reset(model, monkeypatch, 0.3, 0.0, 0.9, 0.2) == [1]
        now = model.places((8, 8), "published")
    torch.testing.assert_close(now[1], before[2] / 2)
    assert torch.equal(now[[0, 2, 3]], before[[0, 2, 3]])
