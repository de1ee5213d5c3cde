import math
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
import torch

from astseg._core.errors import AstSegError, DamagedCheckpointError
from astseg._core.settings_io import override
from astseg.training.batches import Batch
from astseg.training.config import Recipe
from astseg.training.execution import Execution
from astseg.training.saved_state import STATE_VERSION
from astseg.training.state import TrainingProgress, TrainState
from astseg.training.step import train_step

CPU = torch.device("cpu")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.pt"


@pytest.fixture
def state(tiny_recipe: Recipe) -> TrainState:
    """After a step of the second phase."""
    return after_a_step(tiny_recipe)


def after_a_step(recipe: Recipe) -> TrainState:
    state = TrainState.begin(recipe, 12, CPU, seed=7)
    state.end_phase()
    optimizer, images = state.start_phase(), torch.rand(2, 3, 32, 32)
    train_step(state.model, optimizer, state.phase, 0, Batch(images, images / 2))
    state.step, state.seconds = 1, {"background": 1.5}
    return state


def test_round_trip(state: TrainState, file: Path) -> None:
    state.save(file)
    expected = torch.rand(4)
    torch.rand(100)
    loaded = TrainState.load(file, CPU)
    assert torch.equal(torch.rand(4), expected), "random sources go on as if nothing had happened"
    for name in ("recipe", "seed", "num_images", "phase_index", "step", "seconds", "phase", "progress", "device"):
        assert getattr(loaded, name) == getattr(state, name), name
    weights = loaded.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in state.model.state_dict().items())
    assert loaded.model.background is not None
    assert not loaded.model.background.training, "the phase's modes"
    moments = [list(one.start_phase().state_dict()["state"].values()) for one in (state, loaded)]
    assert moments[0], "there is something to compare"
    for first, second in zip(*moments, strict=True):
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_begins_with_a_trained_model(state: TrainState, file: Path) -> None:
    begun = TrainState.begin(state.recipe, 5, CPU, seed=3, trained=state.model)
    assert (begun.pretrained, begun.steps_done, begun.optimizer) == (True, 0, None)
    assert begun.model is not state.model
    weights = begun.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in state.model.state_dict().items())
    begun.save(file)
    assert TrainState.load(file, CPU).pretrained
    state.save(file)
    assert not TrainState.load(file, CPU).pretrained
    other = override(state.recipe, {"architecture.num_slots": 4, "architecture.shadows": False})
    with pytest.raises(AstSegError, match="recipe: num_slots, shadows of its architecture differ"):
        TrainState.begin(other, 5, CPU, trained=state.model)


def test_moments_in_another_order_of_memory(state: TrainState, file: Path) -> None:
    """As an older astseg wrote them: a fused optimizer would take each value for another's."""
    assert state.optimizer is not None
    turned = 0
    for moments in state.optimizer.state.values():
        for name, value in moments.items():
            if value.ndim == 4:
                moments[name] = value.contiguous()
                turned += moments[name].stride() != value.stride()
    assert turned
    state.save(file)
    loaded = TrainState.load(file, CPU)
    assert loaded.optimizer is not None
    for parameter, moments in loaded.optimizer.state.items():
        own = [value for value in moments.values() if value.ndim]
        assert all(value.stride() == parameter.stride() for value in own)


def test_an_older_astseg_computed_in_single_precision(state: TrainState, file: Path) -> None:
    assert loaded_as(state, file, None, {}) == Execution()


def test_a_former_astseg_wrote_its_precision_alone(state: TrainState, file: Path) -> None:
    assert loaded_as(state, file, None, {"precision": "bf16"}) == Execution("bf16")


@pytest.mark.parametrize(
    "execution", [{"precision": "fp16"}, {"precision": 3}, {"parts": 0}, {"parts": 1.5}, {"compiled": 1}, 7]
)
def test_an_execution_that_is_impossible(state: TrainState, file: Path, execution: object) -> None:
    with pytest.raises(DamagedCheckpointError, match="is not a readable checkpoint"):
        loaded_as(state, file, execution, {})


def loaded_as(state: TrainState, file: Path, execution: object, others: dict[str, Any]) -> Execution:
    """Return how a checkpoint's steps are computed, with other entries in the place of its own (None: without)."""
    state.save(file)
    content = torch.load(file, weights_only=True)
    del content["execution"]
    torch.save(content | others | ({} if execution is None else {"execution": execution}), file)
    return TrainState.load(file, CPU).execution


def test_between_two_phases_there_is_no_optimizer(state: TrainState, file: Path) -> None:
    state.end_phase()
    state.save(file)
    loaded = TrainState.load(file, CPU)
    assert loaded.optimizer is None
    assert (loaded.phase.name, loaded.step, loaded.steps_done) == ("joint", 0, 6)


def test_a_phase_that_is_over_or_has_no_steps(state: TrainState, tiny_recipe: Recipe, file: Path) -> None:
    state.step = state.phase.steps  # killed before the phase was closed
    state.save(file)
    assert TrainState.load(file, CPU).step == state.step
    recipe = replace(tiny_recipe, foreground=replace(tiny_recipe.foreground, frozen_steps=0))
    state = TrainState.begin(recipe, 5, CPU, 1)
    state.end_phase()
    assert state.phase.steps == 0
    state.save(file)
    assert TrainState.load(file, CPU).phase.name == "objects"


def test_counts_steps_and_says_how_far_it_is(state: TrainState) -> None:
    assert state.steps_done == 4
    assert state.progress == TrainingProgress("objects", 1, 3, False, "curriculum")
    state.end_phase()
    state.end_phase()
    assert state.finished
    assert state.steps_done == 9
    assert state.progress == TrainingProgress("joint", 3, 3, True, "curriculum")


class TestUnreadable:
    def test_none(self, file: Path) -> None:
        with pytest.raises(AstSegError, match="no checkpoint"):
            TrainState.load(file, CPU)

    @pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04broken"])
    def test_damaged(self, file: Path, content: bytes) -> None:
        file.write_bytes(content)
        with pytest.raises(AstSegError, match=r"not a readable checkpoint: ."):
            TrainState.load(file, CPU)

    def test_cut_short(self, state: TrainState, file: Path) -> None:
        state.save(file)
        file.write_bytes(file.read_bytes()[:-500])
        with pytest.raises(AstSegError, match="not a readable"):
            TrainState.load(file, CPU)

    @pytest.mark.parametrize(
        "content", [torch.zeros(3), [1, 2], {"model": {}}, {"version": STATE_VERSION, "recipe": {}}]
    )
    def test_of_another_program(self, file: Path, content: object) -> None:
        torch.save(content, file)
        with pytest.raises(AstSegError, match="not a readable"):
            TrainState.load(file, CPU)

    @pytest.mark.parametrize("version", [2, 99])
    def test_of_another_version(self, file: Path, version: int) -> None:
        torch.save({"version": version}, file)
        with pytest.raises(AstSegError, match="another version"):
            TrainState.load(file, CPU)

    def test_that_would_run_code(self, file: Path) -> None:
        class Evil:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return print, ("executed",)

        torch.save({"version": STATE_VERSION, "recipe": Evil()}, file)
        with pytest.raises(AstSegError, match="not a readable"):
            TrainState.load(file, CPU)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0\nat")])
def test_a_full_disk_leaves_the_older_checkpoint(
    state: TrainState, file: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    state.save(file)
    state.step = 2

    def fail(content: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(AstSegError, match=r"Cannot write .*checkpoint\.pt: (No space left|unexpected pos 64 vs 0\.$)"):
        state.save(file)
    monkeypatch.undo()
    assert TrainState.load(file, CPU).step == 1
    assert [path.name for path in file.parent.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize(
    "change",
    [
        {"phase_index": -1},
        {"phase_index": 9},
        {"phase_index": True},
        {"step": -1},
        {"step": 4},
        {"step": 1.5},
        {"seed": "x"},
        {"num_images": -5},
        {"seconds": {"background": "x"}},
        {"seconds": [1]},
        {"random": {}},
        {"random": {"cpu": torch.zeros(3), "cuda": []}},
        {"random": {"cpu": torch.zeros(3, dtype=torch.uint8), "cuda": []}},
        {"random": None},
        {"recipe": []},
        {"optimizer": {"state": 5}},
        {"optimizer": []},
        {"optimizer": None},
        {"optimizer": {"state": {}, "param_groups": []}},
        {"model": {"a": 1}},
        {"model": None},
        {"version": torch.zeros(2)},
    ],
)
def test_impossible_fields(state: TrainState, file: Path, change: dict[str, object]) -> None:
    state.save(file)
    torch.save({**torch.load(file, weights_only=True), **change}, file)
    with pytest.raises(AstSegError, match=r"checkpoint\.pt (is|holds)"):
        TrainState.load(file, CPU)


def spoiled(state: TrainState, file: Path, spoil: Callable[[dict[str, Any]], object]) -> Path:
    """Save a state with a change to what its file holds."""
    state.save(file)
    content = torch.load(file, weights_only=True)
    spoil(content)
    torch.save(content, file)
    return file


def of_first_moments(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda content: change(next(iter(content["optimizer"]["state"].values())))


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize(
    "spoil",
    [
        of_first_moments(lambda moments: moments.update({name: torch.zeros(3) for name in moments})),
        of_first_moments(lambda moments: moments.update({name: value + 0j for name, value in moments.items()})),
        of_first_moments(lambda moments: moments.update({name: value.to("meta") for name, value in moments.items()})),
        of_first_moments(lambda moments: moments.update(other=torch.zeros(3))),
        of_first_moments(lambda moments: moments.popitem()),
        of_first_moments(lambda moments: moments.clear()),
        lambda content: content["optimizer"]["state"].update({0: "x"}),
        lambda content: content["optimizer"]["state"].update({10**6: {}}),
        lambda content: content["optimizer"]["state"].update({-1: content["optimizer"]["state"][0]}),
        lambda content: content["model"].update(background_log_activation=torch.tensor(1 + 1j)),
        lambda content: content["recipe"]["architecture"].update(image_size=[65536, 65536]),  # takes no memory
        lambda content: content["recipe"]["architecture"].update(image_size=[3, 3]),
    ],
)
def test_moments_and_weights_of_others(
    tiny_recipe: Recipe, file: Path, optimizer: str, spoil: Callable[[dict[str, Any]], object]
) -> None:
    state = after_a_step(override(tiny_recipe, {"foreground.optimizer": optimizer}))
    with pytest.raises(AstSegError, match="holds the weights of another configuration"):
        TrainState.load(spoiled(state, file, spoil), CPU)


def test_the_settings_of_an_optimizer_are_those_of_the_recipe(state: TrainState, file: Path) -> None:
    group = {"lr": "x", "betas": (2.0, 2.0), "eps": math.nan, "params": [0]}
    spoil = lambda content: content["optimizer"].update(param_groups=[group])  # noqa: E731
    loaded = TrainState.load(spoiled(state, file, spoil), CPU)
    own = state.start_phase().state_dict()["param_groups"]
    assert loaded.start_phase().state_dict()["param_groups"] == [{**one, "lr": ANY} for one in own]


def test_what_torch_advises_is_not_passed_on(file: Path) -> None:
    torch.save({"version": Path("x")}, file)
    with pytest.raises(AstSegError, match="holds an object of pathlib") as caught:
        TrainState.load(file, CPU)
    assert "weights_only" not in str(caught.value)


def test_a_compressed_file_is_not_unpacked(state: TrainState, file: Path) -> None:
    state.save(file)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content + bytes(1 << 20) * name.endswith("data/0"))
    with pytest.raises(AstSegError, match="not a readable"):
        TrainState.load(file, CPU)
