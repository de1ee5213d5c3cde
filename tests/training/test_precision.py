from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pytest
import torch

from astseg._core.errors import AstSegError
from astseg.data.store import Bytes
from astseg.model.architecture import Architecture
from astseg.model.features.build import FeatureNetwork
from astseg.training import precision
from astseg.training.callbacks import Callback, StepMetrics
from astseg.training.config import BackgroundTraining, ForegroundTraining, Recipe
from astseg.training.execution import Execution
from astseg.training.loop import Trainer
from astseg.training.precision import (
    Precision,
    PrecisionRequest,
    choose_precision,
    has_fast_bfloat16,
    matmul_precision,
    parse_precision,
)
from astseg.training.schedules import LearningRate
from astseg.training.small_recipes import cpu_recipe
from astseg.training.state import TrainState

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def with_network(network: FeatureNetwork) -> Architecture:
    return replace(cpu_recipe((32, 32), 2).architecture, feature_network=network)


class TestChoice:
    @pytest.mark.parametrize(
        ("request_", "network", "device", "units", "expected"),
        [
            ("auto", "segformer-b3", CPU, True, "bf16"),
            ("auto", "unet", CPU, True, "bf16"),
            ("auto", "segformer-b3", CPU, False, "fp32"),
            ("auto", "compact-unet", CPU, True, "fp32"),
            ("auto", "segformer-b3", GPU, True, "fp32"),
            ("bf16", "compact-unet", CPU, False, "bf16"),
            ("fp32", "segformer-b3", CPU, True, "fp32"),
            ("tf32", "compact-unet", GPU, False, "tf32"),
        ],
    )
    def test_by_request_network_and_machine(
        self,
        monkeypatch: pytest.MonkeyPatch,
        request_: PrecisionRequest,
        network: FeatureNetwork,
        device: torch.device,
        units: bool,
        expected: Precision,
    ) -> None:
        monkeypatch.setattr(precision, "has_fast_bfloat16", lambda: units)
        assert choose_precision(request_, with_network(network), device) == expected

    @pytest.mark.parametrize(("speedup", "expected"), [(0.5, False), (1.2, False), (2.0, True)])
    def test_the_probe_compares_the_shortest_times(
        self, monkeypatch: pytest.MonkeyPatch, speedup: float, expected: bool
    ) -> None:
        noise = iter([9.0, 1.0, 1.0, 9.0, 3.0] * 2)

        def seconds(factor: torch.Tensor) -> float:
            return next(noise) / (speedup if factor.dtype == torch.bfloat16 else 1.0)

        monkeypatch.setattr(precision, "_product_seconds", seconds)
        assert has_fast_bfloat16() == expected

    def test_the_probe_runs(self) -> None:
        assert has_fast_bfloat16() in (True, False)

    def test_names(self) -> None:
        names = ["auto", "fp32", "tf32", "bf16"]
        assert [parse_precision(name) for name in names] == names
        with pytest.raises(AstSegError, match="one of auto, fp32, tf32, bf16, not 'fp16'"):
            parse_precision("fp16")

    def test_tf32_is_for_gpus(self) -> None:
        with pytest.raises(AstSegError, match="tf32 is for NVIDIA GPUs"):
            choose_precision("tf32", with_network("unet"), CPU)


@pytest.mark.parametrize(("precision", "expected"), [("fp32", "highest"), ("tf32", "high"), ("bf16", "highest")])
def test_only_tf32_shortens_products(precision: Precision, expected: str) -> None:
    with matmul_precision(precision):
        assert torch.get_float32_matmul_precision() == expected
    assert torch.get_float32_matmul_precision() == "highest"


class Totals(Callback):
    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_metrics(self, state: TrainState, metrics: StepMetrics) -> None:
        self.losses.append(metrics.losses["total"])


def short_recipe(network: FeatureNetwork, steps: int) -> Recipe:
    return Recipe(
        Architecture((32, 32), 2, feature_network=network, background_network="simple"),
        BackgroundTraining(steps, batch_size=4),
        ForegroundTraining(
            steps=2 * steps, frozen_steps=steps, batch_size=4, learning_rate=LearningRate(2e-4, warmup_steps=5)
        ),
    )


def test_losses_fall_as_in_single_precision(tiny_images: Bytes, tmp_path: Path) -> None:
    """In each of the three phases; a few hundred steps are compared in `docs/speed.md`."""
    steps, curves = 12, {}
    for name in ("fp32", "bf16"):
        totals = Totals()
        (tmp_path / name).mkdir()
        recipe, kind = short_recipe("segformer-b0", steps), parse_precision(name)
        assert kind != "auto"
        folder, execution = tmp_path / name, Execution(kind)
        trainer = Trainer(recipe, tiny_images, folder, CPU, callbacks=[totals], report_every=1, execution=execution)
        assert trainer.run()
        assert {value.dtype for value in trainer.model.parameters()} == {torch.float32}
        curves[name] = totals.losses
    assert curves["bf16"] != curves["fp32"]
    for phase in range(3):
        fp32, bf16 = (curves[name][phase * steps : (phase + 1) * steps] for name in ("fp32", "bf16"))
        # Processors round differently: the background's losses, all of 0.005, are 2 to 9 % apart.
        assert mean(bf16) == pytest.approx(mean(fp32), rel=0.15)


def test_a_run_resumes_in_its_precision(tiny_images: Bytes, tmp_path: Path) -> None:
    weights = []
    stops: list[Callable[[], bool]] = [lambda: False, lambda: True]
    for stop in stops:
        folder = tmp_path / str(stop())
        folder.mkdir()
        trainer = Trainer(short_recipe("segformer-b0", 2), tiny_images, folder, CPU, execution=Execution("bf16"))
        while not trainer.run(stop):
            trainer = Trainer.resume(tiny_images, folder, CPU)
            assert trainer.state.execution == Execution("bf16")
        weights.append(trainer.model.state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
