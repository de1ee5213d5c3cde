"""The settings of a training run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

from astseg._core.settings_io import COUNT, NOT_NEGATIVE, POSITIVE, check_choice, check_values
from astseg.model.architecture import Architecture
from astseg.model.label_rule.settings import LabelRule
from astseg.training.schedules import LearningRate

OptimizerName: TypeAlias = Literal["adam", "muon"]
"""``adam``: as in the paper. ``muon``: matrices are moved by Muon, and all else by Adam (``training.muon``)."""
Scenario: TypeAlias = Literal["curriculum", "baseline", "frozen", "background"]
"""``curriculum``: the background alone, objects on the frozen background, then both (CT). ``baseline``: both at once
(BT). ``frozen``: the background alone, then objects on the frozen background to the end (Table 4). ``background``: the
background alone, without objects."""
_UNREAD: Mapping[Scenario, tuple[str, ...]] = MappingProxyType(
    {
        "curriculum": ("foreground.baseline.",),
        "baseline": ("background.", "foreground.frozen_steps"),
        "frozen": ("foreground.baseline.", "foreground.frozen_steps"),
        "background": ("foreground.",),
    }
)
"""For each scenario, the beginnings of the names of settings that none of its phases reads."""


def is_read(setting: str, scenario: Scenario) -> bool:
    """Tell whether training by a scenario reads a setting of a recipe, by its name with dots between the groups.

    >>> is_read("background.steps", "baseline"), is_read("background.steps", "frozen")
    (False, True)
    """
    return setting == "foreground.scenario" or not setting.startswith(_UNREAD[scenario])


@dataclass(frozen=True)
class BackgroundTraining:
    """How the background network is trained alone (phase 1), with AdamW without weight decay."""

    steps: int = 500_000
    """Steps of phase 1."""
    batch_size: int = 128
    """Images of a step."""
    learning_rate: LearningRate = field(default_factory=lambda: LearningRate(2e-3, decay_start=0.8))
    exponent_ramp_start: int = 0
    """Steps for which the robust weight's exponent stays 0, so that all pixels count alike. Otherwise, background that
    is not learned yet, such as what moves with the camera, would be discounted like an object. The paper has no such
    steps."""
    exponent_ramp_steps: int = 0
    """Steps over which the exponent then rises from 0 to 6; the paper has no ramp."""
    automatic_complexity: bool = False
    """For AE-NE's simple channels alone: train for 2 000 steps; if the backgrounds then differ between images, start
    again with the complex channels and ``complex_steps``."""
    complex_steps: int = 500_000
    """Steps with the complex channels, if they are chosen automatically."""
    complex_epochs: int = 0
    """The least number of epochs with the complex channels, if they are chosen automatically."""

    def __post_init__(self) -> None:
        ranges = dict.fromkeys(("exponent_ramp_start", "exponent_ramp_steps", "complex_epochs"), NOT_NEGATIVE)
        check_values(self, steps=COUNT, batch_size=COUNT, complex_steps=COUNT, **ranges)


@dataclass(frozen=True)
class BaselineTraining:
    """What makes baseline training reliable. The defaults are the paper's, which takes no such measures."""

    background_rate: float = 1.0
    """The background's learning rate, as a multiple of the recipe's. With equal rates, slots first learn to correct a
    background that is not learned yet, and find nothing once it is."""
    objects_warmup_steps: int = 0
    """Steps over which the learning rate of everything else rises with the square of the step, for the same reason."""
    placement_step: int = 0
    """The number of steps after which slots get their places, if the model has a slot position prior: where the
    background does not explain the images by then. 0 for never."""
    shadow_start: int = 0
    """The first step at which objects cast shadows, if it is later than ``foreground.shadow_start``. While few slots
    paint well, the shadow of one slot would explain the objects of the others."""

    def __post_init__(self) -> None:
        steps = ("objects_warmup_steps", "placement_step", "shadow_start")
        check_values(self, background_rate=POSITIVE, **dict.fromkeys(steps, NOT_NEGATIVE))


@dataclass(frozen=True)
class ForegroundTraining:
    """How the objects are learned (phases 2 and 3). The defaults are the paper's (Table 6)."""

    scenario: Scenario = "curriculum"
    steps: int = 125_000
    """Steps of phases 2 and 3 together."""
    frozen_steps: int = 30_000
    """Steps of phase 2, on the frozen background; only the curriculum reads it."""
    baseline: BaselineTraining = field(default_factory=BaselineTraining)
    """Only baseline training reads it."""
    batch_size: int = 64
    """Images of a step."""
    optimizer: OptimizerName = "adam"
    """What moves the weights."""
    learning_rate: LearningRate = field(default_factory=lambda: LearningRate(4e-5, warmup_steps=5_000))
    entropy_weight: float = 1e-2
    """lambda_pixel of equation 22."""
    entropy_warmup_steps: int = 10_000
    """N_pixel of equation 22."""
    slot_use_weight: float = 0.0
    """Cost of a slot in use; the paper has none."""
    slot_use_warmup_steps: int = 0
    """Steps over which that cost rises with the square of the step: objects must be found before slots can be saved."""
    reinitialize_slots_until: int = 0
    """Slots that find nothing are reset until this step (``training.dead_slots``); 0, as in the paper, for never."""
    flips: bool = False
    """Mirror half of the images left to right, drawn anew for each step; the paper does not."""
    color_weight: float = 1.0
    """The weight of the colors' reconstruction loss in a model of slow features, whose own loss has the weight 1. Only
    appearances learn from the colors there; masks, positions and scales do not."""
    shadow_start: int = 0
    """The first step at which objects cast shadows, if the model has them. Earlier, before the slots paint well,
    darkening the background by a shadow would be an easy way to explain a dark object."""

    def __post_init__(self) -> None:
        weights = ("entropy_weight", "slot_use_weight", "color_weight")
        counts = ("entropy_warmup_steps", "slot_use_warmup_steps", "reinitialize_slots_until", "shadow_start")
        ranges = dict.fromkeys((*weights, *counts, "frozen_steps"), NOT_NEGATIVE)
        check_values(self, steps=COUNT, batch_size=COUNT, **ranges)
        check_choice("scenario", self.scenario, Scenario)
        check_choice("optimizer", self.optimizer, OptimizerName)
        if self.scenario == "curriculum" and self.frozen_steps >= self.steps:
            raise ValueError(f"frozen_steps should be below steps ({self.steps}), not {self.frozen_steps}")


@dataclass(frozen=True)
class Recipe:
    """A model and how it is trained."""

    architecture: Architecture
    background: BackgroundTraining = field(default_factory=BackgroundTraining)
    foreground: ForegroundTraining = field(default_factory=ForegroundTraining)
    label_rule: LabelRule | None = None
    """How the trained model assigns pixels to layers; None for the paper's rule, the largest weight."""
    backbone: str | None = None
    """Pretrained weights for SegFormer's backbone: a hub name or a folder; None for random weights."""

    def __post_init__(self) -> None:
        check_values(self)
        if self.architecture.background_network is None:
            raise ValueError("a model without a background network cannot be trained")
        if self.background.automatic_complexity and self.architecture.background_network not in ("simple", "complex"):
            raise ValueError(f"automatic complexity is for AE-NE, not for {self.architecture.background_network!r}")
        never_placed = self.foreground.scenario == "baseline" and not self.foreground.baseline.placement_step
        if self.architecture.slot_position_prior and never_placed:
            raise ValueError("slots with places need a foreground.baseline.placement_step in baseline training")
        if self.backbone and not self.architecture.feature_network.startswith("segformer"):
            raise ValueError(f"backbone weights are for SegFormer, not for {self.architecture.feature_network}")
        if self.backbone and self.architecture.slow_features is not None:
            raise ValueError("backbone weights are of networks that see images, not slow features; omit one of the two")
