"""Which phase trains which parameters, with which loss: section 4.2 of the paper.

The model knows nothing of this.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from astseg.config import Recipe
from astseg.losses import ROBUST_EXPONENT, background_loss, pixel_entropy_loss, reconstruction_loss, slot_use_loss
from astseg.model.ast_seg import AstSeg
from astseg.model.rendering import Rendering
from astseg.schedules import linear_ramp, quadratic_warmup

PhaseName: TypeAlias = Literal["background", "objects", "joint"]


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one set of parameters and one loss."""

    name: PhaseName
    steps: int
    """How many steps this phase has."""
    offset: int = 0
    """How many steps of foreground training came before it: its schedules go on from there."""


class Losses(NamedTuple):
    """The terms of a step's loss."""

    total: Float[Tensor, ""]
    terms: dict[str, Float[Tensor, ""]]
    rendering: Rendering | None
    """What the pictures were put together from; None while the background is trained alone."""


def phases(recipe: Recipe) -> tuple[Phase, ...]:
    """The phases of a training scenario, in order."""
    alone = Phase("background", recipe.background.steps)
    foreground = recipe.foreground
    match foreground.scenario:
        case "baseline":
            return (Phase("joint", foreground.steps),)
        case "background":
            return (alone,)
        case "frozen":
            return (alone, Phase("objects", foreground.steps))
        case "curriculum":
            frozen, rest = foreground.frozen_steps, foreground.steps - foreground.frozen_steps
            return (alone, Phase("objects", frozen), Phase("joint", rest, offset=frozen))


def trained_modules(model: AstSeg, phase: Phase) -> tuple[list[nn.Parameter], nn.Module]:
    """The parameters that a phase trains, and the module to hold in training mode."""
    background = model.background
    assert background is not None, "a recipe always has a background network"
    if phase.name == "background":
        return list(background.parameters()), background
    frozen = {id(parameter) for parameter in background.parameters()} if phase.name == "objects" else set()
    return [parameter for parameter in model.parameters() if id(parameter) not in frozen], model


def start_phase(model: AstSeg, phase: Phase, recipe: Recipe) -> torch.optim.Optimizer:
    """Set the model's modes for a phase and return a fresh optimiser for what it trains."""
    parameters, module = trained_modules(model, phase)
    model.eval()
    module.train()
    if phase.name == "objects" and model.background is not None:
        model.background.eval()
    wanted = {id(parameter) for parameter in parameters}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in wanted)
    if phase.name == "background":
        return torch.optim.AdamW(parameters, recipe.background.learning_rate.peak, weight_decay=0, fused=True)
    return torch.optim.Adam(parameters, recipe.foreground.learning_rate.peak, (0.90, 0.98), eps=1e-9, fused=True)


def learning_rate(phase: Phase, step: int, recipe: Recipe) -> float:
    """The learning rate of a step of a phase."""
    if phase.name == "background":
        return recipe.background.learning_rate.at(step, phase.steps)
    return recipe.foreground.learning_rate.at(phase.offset + step, recipe.foreground.steps)


def background_losses(
    model: AstSeg, images: Float[Tensor, "batch 3 height width"], step: int, recipe: Recipe
) -> Losses:
    """The robust loss of phase 1."""
    assert model.background is not None
    settings = recipe.background
    share = linear_ramp(step, settings.exponent_ramp_start, settings.exponent_ramp_steps)
    loss = background_loss(images, model.background(images), share * ROBUST_EXPONENT)
    return Losses(loss, {"background": loss}, None)


def foreground_losses(
    model: AstSeg,
    images: Float[Tensor, "batch 3 height width"],
    backgrounds: Float[Tensor, "batch 3 height width"] | None,
    step: int,
    recipe: Recipe,
) -> Losses:
    """The loss of phases 2 and 3 (equation 22).

    Args:
        model: the model.
        images: pictures in [0, 1].
        backgrounds: their frozen backgrounds; None where the background network is trained too.
        step: the step, counted from the beginning of phase 2.
        recipe: the weights of the terms.
    """
    settings = recipe.foreground
    rendering: Rendering = model(images, backgrounds, shadows=step >= settings.shadow_start)
    warmup = quadratic_warmup(step, settings.entropy_warmup_steps)
    terms = {
        "reconstruction": reconstruction_loss(rendering.image, images),
        "entropy": pixel_entropy_loss(rendering.weights),
    }
    total = terms["reconstruction"] + warmup * settings.entropy_weight * terms["entropy"]
    if settings.slot_use_weight:
        terms["slot_use"] = slot_use_loss(rendering.weights)
        use_warmup = quadratic_warmup(step, settings.slot_use_warmup_steps)
        total = total + use_warmup * settings.slot_use_weight * terms["slot_use"]
    return Losses(total, terms, rendering)
