"""The phases of training (section 4.2 of the paper): what each trains, how, and on which loss.

The model does not depend on phases, and the training loop only on the interface of `Phase`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from astseg.model.ast_seg import AstSeg
from astseg.model.rendering import Rendering
from astseg.model.resizing import resized
from astseg.training.background_noise import measure_noise
from astseg.training.batches import Batch, TrainingImages
from astseg.training.config import BackgroundTraining, ForegroundTraining, Recipe
from astseg.training.losses import (
    ROBUST_EXPONENT,
    background_loss,
    feature_loss,
    pixel_entropy_loss,
    reconstruction_loss,
    slot_use_loss,
)
from astseg.training.muon import Muon
from astseg.training.schedules import linear_ramp, quadratic_warmup

PhaseName: TypeAlias = Literal["background", "objects", "joint"]
BETAS, EPS = (0.90, 0.98), 1e-9
"""Adam's, for the objects (Table 6)."""


class Losses(NamedTuple):
    """The loss of a step and its terms."""

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]
    rendering: Rendering | None
    """How the images were composited; None while the background is trained alone."""


class Schedule(NamedTuple):
    """What a loss takes from the step. Its numbers are tensors where the loss is compiled."""

    exponent: float | Float[Tensor, ""] = 0.0
    """That of the background's robust weight."""
    entropy_weight: float | Float[Tensor, ""] = 0.0
    """lambda_pixel of equation 22, as far as it has warmed up."""
    slot_use_weight: float | Float[Tensor, ""] = 0.0
    """The same for the cost of a slot in use."""
    shadows: bool = True
    """Whether objects cast shadows, if the model has them."""


@dataclass(frozen=True)
class Phase(ABC):
    """A part of training with one set of parameters and one loss."""

    settings: BackgroundTraining | ForegroundTraining
    """The settings, whose schedules run over ``settings.steps``."""
    steps: int
    """The number of those steps in this phase."""
    offset: int = 0
    """The number of those steps before this phase."""
    name: ClassVar[PhaseName]
    trains_background: ClassVar[bool]
    trains_objects: ClassVar[bool]
    needs_backgrounds: ClassVar[bool] = False
    """Whether each batch comes with backgrounds painted beforehand."""

    def parameters(self, model: AstSeg) -> list[nn.Parameter]:
        """Return the parameters that the phase trains."""
        assert model.background is not None, "a recipe always has a background network"
        background = {id(parameter) for parameter in model.background.parameters()}
        return [
            parameter
            for parameter in model.parameters()
            if (self.trains_background if id(parameter) in background else self.trains_objects)
        ]

    def start(self, model: AstSeg) -> torch.optim.Optimizer:
        """Set the model's modes and return a fresh optimizer for what the phase trains."""
        assert model.background is not None
        model.train(self.trains_objects)
        model.background.train(self.trains_background)
        groups = self.parameter_groups(model)
        model.requires_grad_(False)
        for parameter in chain.from_iterable(groups):
            parameter.requires_grad_()
        return self.optimizer([{"params": group} for group in groups])

    def parameter_groups(self, model: AstSeg) -> list[list[nn.Parameter]]:
        """Return the parameters that the phase trains, by their learning rates."""
        return [self.parameters(model)]

    def group_rates(self, step: int) -> dict[str, float]:
        """Return the learning rate of each of these groups, by the name that metrics have for it."""
        return {"learning_rate": self.learning_rate(step)}

    @property
    def flips(self) -> bool:
        """Whether half of the images are mirrored."""
        return False

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0 at the start of the phase."""
        return self.settings.learning_rate.at(self.offset + step, self.settings.steps)

    def finish(self, model: AstSeg, images: TrainingImages) -> None:
        """Measure what depends on the trained weights: the noise of a static background."""
        if self.trains_background and model.background_noise is not None:
            model.background_noise.copy_(measure_noise(model, images))

    @abstractmethod
    def optimizer(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Return a fresh optimizer for groups of parameters, as torch's optimizers take them."""

    @abstractmethod
    def schedule(self, step: int) -> Schedule:
        """Return what the loss takes from a step, counted from 0 at the start of the phase."""

    @abstractmethod
    def losses(self, model: AstSeg, batch: Batch, schedule: Schedule) -> Losses:
        """Return the loss of a batch, without looking at any value of a tensor: a GPU is not waited for.

        Args:
            model: the model.
            batch: what the step learns from.
            schedule: what depends on the step.
        """


@dataclass(frozen=True)
class BackgroundPhase(Phase):
    """Phase 1: the background network alone, as AE-NE trains it."""

    settings: BackgroundTraining
    name = "background"
    trains_background, trains_objects = True, False

    def optimizer(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Return AdamW without weight decay."""
        return torch.optim.AdamW(groups, self.settings.learning_rate.peak, weight_decay=0, fused=True)

    def schedule(self, step: int) -> Schedule:
        """Return the exponent, which rises to AE-NE's."""
        share = linear_ramp(step, self.settings.exponent_ramp_start, self.settings.exponent_ramp_steps)
        return Schedule(exponent=share * ROBUST_EXPONENT)

    def losses(self, model: AstSeg, batch: Batch, schedule: Schedule) -> Losses:
        """Return AE-NE's robust loss; the images alone are looked at."""
        assert model.background is not None
        loss = background_loss(batch.images, model.background(batch.images), schedule.exponent)
        return Losses(loss, {"background": loss}, None)


@dataclass(frozen=True)
class ForegroundPhase(Phase):
    """A phase that trains the objects."""

    settings: ForegroundTraining
    trains_objects = True

    @property
    def flips(self) -> bool:
        """Whether half of the images are mirrored."""
        return self.settings.flips

    def optimizer(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Return Adam as in Table 6, or Muon beside it."""
        rate = self.settings.learning_rate.peak
        match self.settings.optimizer:
            case "adam":
                return torch.optim.Adam(groups, rate, BETAS, eps=EPS, fused=True)
            case "muon":
                return Muon(groups, rate, BETAS, EPS)

    def schedule(self, step: int) -> Schedule:
        """Return the weights of equation 22 and of slots in use, and whether shadows have begun."""
        settings, step = self.settings, self.offset + step
        return Schedule(
            entropy_weight=quadratic_warmup(step, settings.entropy_warmup_steps) * settings.entropy_weight,
            slot_use_weight=quadratic_warmup(step, settings.slot_use_warmup_steps) * settings.slot_use_weight,
            shadows=step >= settings.shadow_start,
        )

    def losses(self, model: AstSeg, batch: Batch, schedule: Schedule) -> Losses:
        """Return the loss of equation 22; without backgrounds, the background network paints and learns too."""
        settings = self.settings
        backgrounds = model.reconstruct_backgrounds(batch.images) if batch.backgrounds is None else batch.backgrounds
        behind = resized(backgrounds, model.grid)
        rendering: Rendering = model(batch.images, behind, batch.residuals, shadows=schedule.shadows)
        terms = {
            "reconstruction": reconstruction_loss(rendering.image, resized(batch.images, model.grid)),
            "entropy": pixel_entropy_loss(rendering.weights),
        }
        total = terms["reconstruction"]
        if rendering.vectors is not None and batch.residuals is not None:
            terms["features"] = feature_loss(rendering.weights, rendering.vectors, batch.residuals)
            total = terms["features"] + settings.color_weight * total
        total = total + schedule.entropy_weight * terms["entropy"]
        if settings.slot_use_weight:
            terms["slot_use"] = slot_use_loss(rendering.weights, model.pixels_per_cell)
            total = total + schedule.slot_use_weight * terms["slot_use"]
        return Losses(total, terms, rendering)


@dataclass(frozen=True)
class ObjectsPhase(ForegroundPhase):
    """Phase 2: the objects, on frozen backgrounds that are painted once."""

    name = "objects"
    trains_background = False
    needs_backgrounds = True


@dataclass(frozen=True)
class JointPhase(ForegroundPhase):
    """Phase 3: the objects and the background together."""

    name = "joint"
    trains_background = True


@dataclass(frozen=True)
class BaselinePhase(JointPhase):
    """Baseline training: the objects and the background together from the first step, at rates of their own."""

    def parameter_groups(self, model: AstSeg) -> list[list[nn.Parameter]]:
        """Return the background's parameters, and all others."""
        assert model.background is not None
        background = list(model.background.parameters())
        of_background = {id(parameter) for parameter in background}
        return [background, [parameter for parameter in self.parameters(model) if id(parameter) not in of_background]]

    def schedule(self, step: int) -> Schedule:
        """Return the schedule of the objects, perhaps with later shadows."""
        usual = super().schedule(step)
        return usual._replace(shadows=usual.shadows and step >= self.settings.baseline.shadow_start)

    def group_rates(self, step: int) -> dict[str, float]:
        """Return the background's rate, and that of all others."""
        rate, settings = self.learning_rate(step), self.settings.baseline
        return {
            "background_learning_rate": settings.background_rate * rate,
            "learning_rate": quadratic_warmup(step + 1, settings.objects_warmup_steps) * rate,
        }


def phases(recipe: Recipe) -> tuple[Phase, ...]:
    """Return the phases of a recipe's scenario, in order."""
    alone = BackgroundPhase(recipe.background, recipe.background.steps)
    settings = recipe.foreground
    steps, frozen = settings.steps, settings.frozen_steps
    match settings.scenario:
        case "curriculum":
            return alone, ObjectsPhase(settings, frozen), JointPhase(settings, steps - frozen, offset=frozen)
        case "baseline":
            return (BaselinePhase(settings, steps),)
        case "frozen":
            return alone, ObjectsPhase(settings, steps)
        case "background":
            return (alone,)
