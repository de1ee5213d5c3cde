import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.process_groups import run_together
from torch import Tensor, nn

from astseg._core import processes
from astseg._core.errors import AstSegError, LostProcessError
from astseg._core.settings_io import override
from astseg.data.store import Bytes, Store
from astseg.training.batch_part import BatchPart, mean_over_batch, own_part
from astseg.training.batches import Batch
from astseg.training.callbacks import Callback, StepMetrics
from astseg.training.config import Recipe
from astseg.training.dead_slots import DeadSlotReset
from astseg.training.execution import PLAIN, Execution
from astseg.training.global_batch import GlobalBatch
from astseg.training.global_draws import GlobalDraws
from astseg.training.loggers import read_metrics
from astseg.training.loop import Trainer
from astseg.training.phases import Losses
from astseg.training.run import train_run
from astseg.training.run_folder import RunSettings
from astseg.training.state import TrainState

needs_fork = pytest.mark.skipif(sys.platform != "linux", reason="forks")
PARTS = (BatchPart(0, 1, 4), BatchPart(1, 4, 4))
NOISY = {"architecture.refinement": "transformer", "architecture.transformer.dropout": 0.3, "foreground.flips": True}
"""Dropout and flips draw random numbers in every step."""


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_parts_make_up_the_batch(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(processes, "count", lambda: count)
    parts = []
    for rank in range(count):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        parts.append(own_part(4))
    assert [index for part in parts for index in range(4)[part.places]] == [0, 1, 2, 3]
    assert math.isclose(sum(part.share for part in parts), 1)
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("count", "sizes"), [(1, [7]), (2, [3, 4]), (3, [2, 2, 3]), (7, [1] * 7), (9, [1] * 7)])
def test_a_part_is_divided_evenly(count: int, sizes: list[int]) -> None:
    parts = BatchPart(2, 9, 20).divided(count)
    assert [part.stop - part.start for part in parts] == sizes
    assert [index for part in parts for index in range(20)[part.places]] == list(range(2, 9))
    assert {part.size for part in parts} == {20}


def test_all_processes_divide_their_parts_into_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "count", lambda: 2)
    for rank, sizes in enumerate(([1, 1], [1, 2])):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        assert [part.stop - part.start for part in own_part(5).divided(3)] == sizes


def drawing() -> dict[str, tuple[Callable[[Tensor], Tensor], Tensor]]:
    attention = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)
    plain = torch.rand(4, 6, 8) + 1
    return {
        "dropout": (lambda x: F.dropout(x, 0.5), plain),
        "of transposed maps": (lambda x: F.dropout(x, 0.5), (torch.rand(6, 4, 8) + 1).transpose(0, 1)),
        "of channels last": (
            lambda x: F.dropout(x, 0.5),
            (torch.rand(4, 3, 5, 5) + 1).to(memory_format=torch.channels_last),
        ),
        "of channels": (lambda x: F.dropout1d(x, 0.5), plain),
        "of maps": (lambda x: F.dropout2d(x, 0.5), torch.rand(4, 6, 5, 5) + 1),
        "alpha": (lambda x: F.alpha_dropout(x, 0.5, training=True), plain),
        "depth": (lambda x: x * torch.rand((len(x), 1, 1)), plain),
        "noise": (lambda x: x + torch.randn(len(x), 6, 8), plain),
        "noise of heads": (lambda x: x + torch.randn(2 * len(x), 3, 8).view(x.shape), plain),
        "noise like values": (lambda x: x + torch.rand_like(x) + torch.randn_like(x), plain),
        "attention": (lambda x: attention(x, x, x, need_weights=False)[0], plain),
        "weights of attention": (lambda x: attention(x, x, x)[0], plain),
        "not while evaluating": (lambda x: F.dropout(x, 0.5, training=False), plain),
    }


@pytest.mark.parametrize("name", drawing())
def test_random_numbers_do_not_depend_on_the_parts(name: str) -> None:
    draw, values = drawing()[name]
    torch.manual_seed(0)
    whole = draw(values)
    for part in PARTS:
        torch.manual_seed(0)
        with GlobalBatch(part):
            drawn = draw(values[part.places])
        torch.testing.assert_close(drawn, whole[part.places])
        after = torch.rand(1)
        torch.manual_seed(0)
        draw(values)
        assert torch.equal(after, torch.rand(1)), "the generator is where one process leaves it"


def test_dropout_of_gpus() -> None:
    """Their kernel, which the CPU has too."""
    values, found = torch.rand(4, 500) + 1, []
    for part in PARTS:
        torch.manual_seed(0)
        with GlobalDraws(part):
            dropped, kept = torch.ops.aten.native_dropout(values[part.places], 0.25, True)
        torch.testing.assert_close(dropped, values[part.places] * kept / 0.75)
        found.append(kept)
    assert 0.7 < torch.cat(found).float().mean() < 0.8
    assert not torch.equal(found[0][0], found[1][0])


@pytest.mark.parametrize(
    "draw", [lambda: torch.rand(5), lambda: torch.randn(()), lambda: torch.rand_like(torch.ones(()))]
)
def test_what_is_not_drawn_for_images_is_drawn_as_ever(draw: Callable[[], Tensor]) -> None:
    torch.manual_seed(0)
    expected = draw()
    torch.manual_seed(0)
    with GlobalBatch(BatchPart(1, 4, 4)):
        assert torch.equal(draw(), expected)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("tracking", [False, True])
def test_batch_normalization_without_weights_or_statistics(*, affine: bool, tracking: bool) -> None:
    maps = torch.rand(4, 3, 5, 5)
    layers = [nn.BatchNorm2d(3, affine=affine, track_running_stats=tracking) for _ in range(2)]
    with GlobalBatch(BatchPart(0, 4, 4)):
        found = layers[0](maps)
    torch.testing.assert_close(found, layers[1](maps))
    torch.testing.assert_close(layers[0].state_dict(), layers[1].state_dict())


def _normalized(parts: tuple[BatchPart, ...] | None) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    maps = (3 * torch.rand(4, 3, 5, 6, generator=generator) + 7).requires_grad_()
    layer = nn.BatchNorm2d(3)
    nn.init.uniform_(layer.weight, generator=generator)
    factors = torch.rand(4, 3, 5, 6, generator=generator)
    part = parts[processes.rank()] if parts else BatchPart(0, 4, 4)
    if parts is None:
        normalized = layer(maps)
    else:
        with GlobalBatch(part):
            normalized = layer(maps[part.places])
    (normalized * factors[part.places]).square().sum().backward()
    leaves = maps, layer.weight, layer.bias
    gradients = [processes.add_up(leaf.grad) for leaf in leaves if leaf.grad is not None]
    layer.eval()
    with GlobalBatch(part):
        evaluated = layer(maps)
    outputs = torch.zeros(4, 3, 5, 6)
    outputs[part.places] = normalized.detach()
    return [processes.add_up(outputs), *gradients, layer.running_mean, layer.running_var, evaluated.detach()]


def test_batch_normalization_of_a_single_value_is_refused() -> None:
    """As torch does; it would be the bias, whatever came in."""
    with GlobalBatch(BatchPart(0, 1, 4)), pytest.raises(ValueError, match="more than 1 value of a channel"):
        nn.BatchNorm2d(2)(torch.rand(1, 2, 1, 1))


def test_batch_normalization_is_torchs() -> None:
    for found, expected in zip(_normalized((BatchPart(0, 4, 4),)), _normalized(None), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("pixels", [2, 400])
def test_batch_normalization_of_16_bits(pixels: int) -> None:
    layer = torch.nn.BatchNorm2d(3)
    maps = (10 + torch.randn(1, 3, pixels, 1)).bfloat16()
    with GlobalBatch(BatchPart(0, 1, 1)):
        normalized = layer(maps)
    assert normalized.dtype == torch.bfloat16
    assert layer.running_var is not None
    assert layer.running_var.isfinite().all()
    torch.testing.assert_close(normalized, torch.nn.BatchNorm2d(3)(maps), rtol=1e-2, atol=1e-2)


def _as_arrays(parts: tuple[BatchPart, ...]) -> list[np.ndarray]:
    return [part.numpy() for part in _normalized(parts)]


@needs_fork
def test_batch_normalization_looks_at_all_parts() -> None:
    for results in run_together(_as_arrays, 2, PARTS):
        for found, expected in zip(results, _normalized(None), strict=True):
            torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-4)


def _mean(values: tuple[float, ...]) -> dict[str, float]:
    return mean_over_batch({"loss": values[processes.rank()]}, PARTS[processes.rank()])


@needs_fork
def test_metrics_are_means_over_the_whole_batch() -> None:
    assert run_together(_mean, 2, (1.0, 5.0)) == [{"loss": 4.0}] * 2


class Recorder(Callback):
    """Remembers the metrics, and does something else after each step."""

    def __init__(self, after_step: Callable[[int], None] = lambda steps: None) -> None:
        self.metrics: list[dict[str, float]] = []
        self._after_step = after_step

    def on_step_end(self, state: TrainState) -> None:
        self._after_step(state.steps_done)

    def on_metrics(self, state: TrainState, metrics: StepMetrics) -> None:
        self.metrics.append({**metrics.losses, **{f"of {name}": value for name, value in metrics.diagnostics.items()}})


Outcome = tuple[list[dict[str, float]], dict[str, Any]]


def weights(trainer: Trainer) -> dict[str, Any]:
    return {name: value.double().numpy() for name, value in trainer.model.state_dict().items()}


class FixedNormalization(Callback):
    """Normalizes by the running statistics, so that images do not depend on each other."""

    def on_phase_start(self, state: TrainState) -> None:
        for layer in state.model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()


def _train(recipe: Recipe, images: Bytes, folder: Path, execution: Execution = PLAIN, *more: Callback) -> Outcome:
    recorder = Recorder()
    callbacks = [recorder, DeadSlotReset(until=6, interval=2), *more]
    trainer = Trainer(recipe, images, folder, "cpu", 3, callbacks, report_every=1, execution=execution)
    assert trainer.run()
    return recorder.metrics, weights(trainer)


@pytest.fixture(scope="module")
def fixed_outcome(
    tiny_recipe: Recipe, tiny_images: Bytes, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Outcome, Tensor]:
    """What comes of whole batches in one process with fixed normalization, and the state of the generator then."""
    folder, recipe = tmp_path_factory.mktemp("fixed"), override(tiny_recipe, NOISY)
    return _train(recipe, tiny_images, folder, PLAIN, FixedNormalization()), torch.get_rng_state()


def assert_equal_weights(found: dict[str, Any], expected: dict[str, Any], tolerance: float = 2e-5) -> None:
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=tolerance, err_msg=name)


@needs_fork
@pytest.mark.parametrize(("changes", "count"), [({}, 3), (NOISY, 2)])
def test_processes_train_as_one(
    tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, changes: dict[str, Any], count: int
) -> None:
    recipe = override(tiny_recipe, changes)
    folders = [tmp_path / "one", tmp_path / "several"]
    for folder in folders:
        folder.mkdir()
    metrics, expected = _train(recipe, tiny_images, folders[0])
    outcomes = run_together(_train, count, recipe, tiny_images, folders[1])
    for found_metrics, found in outcomes:
        assert [list(entry) for entry in found_metrics] == [list(entry) for entry in metrics]
        for entry, wanted in zip(found_metrics, metrics, strict=True):
            assert entry == pytest.approx(wanted, rel=1e-3, abs=1e-6)
        assert_equal_weights(found, expected)
        assert_equal_weights(found, outcomes[0][1], 0.0)
    assert sorted(path.name for path in folders[1].iterdir()) == sorted(path.name for path in folders[0].iterdir())
    seeds = [
        torch.get_rng_state() for folder in folders if TrainState.load(folder / "checkpoint.pt", torch.device("cpu"))
    ]
    assert torch.equal(*seeds), "random numbers go on as if one process had trained"


@pytest.mark.parametrize("parts", [3, 9])
def test_parts_train_as_whole_batches(
    tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, fixed_outcome: tuple[Outcome, Tensor], parts: int
) -> None:
    """But for batch normalization."""
    recipe, execution = override(tiny_recipe, NOISY), Execution(parts=parts)
    (metrics, expected), state = fixed_outcome
    found_metrics, found = _train(recipe, tiny_images, tmp_path, execution, FixedNormalization())
    assert torch.equal(torch.get_rng_state(), state), "random numbers go on as after whole batches"
    for entry, wanted in zip(found_metrics, metrics, strict=True):
        losses = {name: value for name, value in wanted.items() if not name.startswith("of ")}
        assert {name: entry[name] for name in losses} == pytest.approx(losses, rel=1e-3, abs=1e-6)
    assert_equal_weights(found, expected)


@needs_fork
def test_processes_with_parts_train_as_one(
    tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, fixed_outcome: tuple[Outcome, Tensor]
) -> None:
    recipe, fixed = override(tiny_recipe, NOISY), FixedNormalization()
    (_, expected), _ = fixed_outcome
    for _, found in run_together(_train, 2, recipe, tiny_images, tmp_path, Execution(parts=2), fixed):
        assert_equal_weights(found, expected)


class LargeAppearances(Callback):
    """A loss of one's own, whose value depends on the images of the batch."""

    def more_losses(self, state: TrainState, batch: Batch, losses: Losses) -> dict[str, Tensor]:
        if losses.rendering is None:
            return {}
        return {"appearances": -0.1 * losses.rendering.latents.appearances.abs().mean()}


def _train_run(recipe: Recipe, store: Path, folder: Path, *callbacks: Callback) -> Any:
    settings = RunSettings("a title", recipe, str(store), 3)
    train_run(folder, settings, torch.device("cpu"), callbacks=callbacks or [LargeAppearances()])
    return weights(Trainer.resume(Store(store)["train"].images, folder, "cpu"))


@needs_fork
def test_processes_share_losses_of_ones_own(tiny_recipe: Recipe, tiny_store: Store, tmp_path: Path) -> None:
    images = tiny_store["train"].images
    own = FixedNormalization(), LargeAppearances()
    for name in ("one", "several"):
        (tmp_path / name).mkdir()
    metrics, expected = _train(tiny_recipe, images, tmp_path / "one", PLAIN, *own)
    outcomes = run_together(_train, 2, tiny_recipe, images, tmp_path / "several", Execution(parts=2), *own)
    for found_metrics, found in outcomes:
        assert_equal_weights(found, expected)
        for entry, wanted in zip(found_metrics, metrics, strict=True):
            assert entry.get("appearances", 0.0) == pytest.approx(wanted.get("appearances", 0.0), rel=1e-3)
    assert "appearances" in metrics[-1]


class SmallGlimpses(Callback):
    """Changes the weights after each step."""

    @torch.no_grad()
    def on_step_end(self, state: TrainState) -> None:
        for parameter in state.model.glimpse_generator.parameters():
            parameter.clamp_(-0.05, 0.05)


@needs_fork
def test_processes_make_a_run_that_a_callback_has_a_hand_in(
    tiny_recipe: Recipe, tiny_store: Store, tmp_path: Path
) -> None:
    expected = _train_run(tiny_recipe, tiny_store.path, tmp_path / "one", SmallGlimpses())
    for found in run_together(_train_run, 2, tiny_recipe, tiny_store.path, tmp_path / "several", SmallGlimpses()):
        assert_equal_weights(found, expected)


@needs_fork
def test_processes_make_a_run_with_losses_of_ones_own(tiny_recipe: Recipe, tiny_store: Store, tmp_path: Path) -> None:
    """Of a run, only the first process runs what watches."""
    expected = _train_run(tiny_recipe, tiny_store.path, tmp_path / "one")
    for found in run_together(_train_run, 2, tiny_recipe, tiny_store.path, tmp_path / "several"):
        assert_equal_weights(found, expected)
    entries = [read_metrics(tmp_path / name / "metrics.jsonl")[-1] for name in ("one", "several")]
    assert entries[1]["appearances"] == pytest.approx(entries[0]["appearances"], rel=1e-3)


def _train_until(steps: int, how: str, recipe: Recipe, images: Bytes, folder: Path) -> bool:
    """Train until the second process is told to stop, or is killed, after some steps."""
    asked = False

    def end(done: int) -> None:
        nonlocal asked
        if processes.rank() == 1 and done == steps:
            asked = True
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)

    trainer = Trainer(recipe, images, folder, "cpu", 3, [Recorder(end)], save_every=0.0)
    return trainer.run(lambda: asked)


def _resume(images: Bytes, folder: Path) -> dict[str, Any]:
    trainer = Trainer.resume(images, folder, "cpu")
    assert trainer.run()
    return weights(trainer)


@pytest.fixture(scope="module")
def trained_alone(tiny_recipe: Recipe, tiny_images: Bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The weights of a run of one process that never stopped."""
    trainer = Trainer(override(tiny_recipe, NOISY), tiny_images, tmp_path_factory.mktemp("alone"), "cpu", 3)
    assert trainer.run()
    return weights(trainer)


@needs_fork
@pytest.mark.parametrize(("how", "steps", "then"), [("stopped", 4, 1), ("killed", 5, 1), ("killed", 8, 3)])
def test_what_two_began_any_number_ends(
    tiny_recipe: Recipe,
    tiny_images: Bytes,
    tmp_path: Path,
    trained_alone: dict[str, Any],
    how: str,
    steps: int,
    then: int,
) -> None:
    recipe, folder = override(tiny_recipe, NOISY), tmp_path / "several"
    folder.mkdir()
    ends = run_together(_train_until, 2, steps, how, recipe, tiny_images, folder)
    if how == "stopped":
        assert ends == [False, False]
    else:
        assert isinstance(ends[0], LostProcessError)
        assert ends[1] is None
    state = TrainState.load(folder / "checkpoint.pt", torch.device("cpu"))
    assert steps - 1 <= state.steps_done <= steps
    for found in [_resume(tiny_images, folder)] if then == 1 else run_together(_resume, then, tiny_images, folder):
        assert_equal_weights(found, trained_alone)


def test_more_processes_than_images_in_a_batch(
    tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "count", lambda: 5)
    with pytest.raises(AstSegError, match="5 processes cannot share batches of 4 images"):
        Trainer(tiny_recipe, tiny_images, tmp_path, "cpu")


def test_a_compiled_loss_is_for_one_process(
    tiny_recipe: Recipe, tiny_images: Bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "count", lambda: 2)
    with pytest.raises(AstSegError, match="compiled loss is for one process"):
        Trainer(tiny_recipe, tiny_images, tmp_path, "cpu", execution=Execution(compiled=True))
