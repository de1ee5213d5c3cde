"""Whether a training goes well: measured on a few images, and judged in words with what to try. Not in the paper.

``docs/reliability.md`` says on what the limits were tested.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from astseg.model.ast_seg import AstSeg
from astseg.model.label_rule.slot_masks import slot_masks
from astseg.model.resizing import resized
from astseg.model.segmentation import evaluation_mode
from astseg.training.batches import Batch
from astseg.training.losses import background_pixel_error

Aspect: TypeAlias = Literal["weights", "loss", "background", "empty slots", "shared slots", "reconstruction"]
"""What is judged."""

UNEXPLAINED_QUANTILE = 0.99
"""An image's unexplained error is this quantile of its pixels' errors: an object of 6x6 pixels in 64x64 exceeds it."""
TYPICAL_IMAGES = 0.9
"""The background is judged by this quantile of the images' errors, because some images may show no objects."""
MIN_UNEXPLAINED = 0.15
"""The least unexplained error that leaves something to the slots, summed over the channels, from 0 to 3."""
DEAD_THRESHOLD = 0.02
"""A slot is dead, or empty, if it owns pixels in a smaller share of the images."""
MAX_EMPTY_SHARE = 0.5
"""The share of slots that may stay empty: the number of objects is only estimated."""
FOREGROUND_WEIGHT = 0.5
"""A pixel shows an object if the slots have more of its weight than this."""
MIN_LARGEST_SHARE = 0.6
"""The least share of the strongest slot where objects are: two slots that share them evenly have 0.5 each."""
MIN_CHANGE = 0.1
"""The least variation of the reconstructions, as a share of the variation of the images."""
MAX_LOSS_RISE = 2.0
"""The largest ratio of a loss to its lowest level."""
MIN_REPORTS = 20
"""Fewer reports say nothing about the course of a loss."""
DIVERGED_ADVICE = (
    "Start a new run with another seed, in another folder; if that diverges too, with a lower learning rate "
    "(foreground.learning_rate.peak in the recipe)."
)


@dataclass(frozen=True)
class Judgment:
    """One aspect of a training, judged."""

    aspect: Aspect
    healthy: bool
    finding: str
    """What was found, with the figure, in a sentence or two."""
    advice: str = ""
    """What to try if it is not healthy."""

    def __str__(self) -> str:
        return f"{self.finding} {self.advice}".strip()


@dataclass(frozen=True)
class HealthMeasures:
    """What a model makes of some images."""

    unexplained: Float[Tensor, " images"]
    """The error of the background where it fits each image worst, from 0 to 3; see `UNEXPLAINED_QUANTILE`."""
    found: Bool[Tensor, "images slots"]
    """Whether a slot owns a pixel of an image by the paper's rule."""
    largest_share: float | None
    """The strongest slot's share of the slots' weight, in pixels that show objects; None if no pixel does."""
    change: float | None
    """How much reconstructions differ from each other, as a share of how much the images do; None for equal images."""


@torch.no_grad()
def measure_health(model: AstSeg, batches: Iterable[Batch]) -> HealthMeasures:
    """Measure what a model makes of some images, at least one, in evaluation mode.

    No random number is drawn, and the model does not change.

    Raises:
        ValueError: the model has no background network.
    """
    unexplained, found, images, reconstructions = [], [], [], []
    strongest = total = 0.0
    with evaluation_mode(model):
        for batch in batches:
            painted = model.reconstruct_backgrounds(batch.images)
            rendering = model(batch.images, resized(painted, model.grid), batch.residuals)
            errors = background_pixel_error(batch.images, painted.clamp(0, 1))
            unexplained.append(errors.flatten(1).quantile(UNEXPLAINED_QUANTILE, dim=1))
            found.append(slot_masks(rendering.weights).flatten(2).any(-1))
            slots = rendering.weights[:, 1:]
            shown = slots.sum(1) > FOREGROUND_WEIGHT
            strongest += float(slots.amax(1)[shown].sum())
            total += float(slots.sum(1)[shown].sum())
            images.append(resized(batch.images, model.grid))
            reconstructions.append(rendering.image)
    of_images = _change(torch.cat(images))
    return HealthMeasures(
        torch.cat(unexplained),
        torch.cat(found),
        strongest / total if total else None,
        _change(torch.cat(reconstructions)) / of_images if of_images else None,
    )


def _change(images: Float[Tensor, "images 3 height width"]) -> float:
    """Return the mean distance of the images' pixels from the mean image."""
    return float((images - images.mean(0)).abs().mean())


def judge_weights(model: AstSeg) -> Judgment:
    """Judge whether all weights are finite."""
    weights = (value for value in model.state_dict().values() if value.is_floating_point())
    if all(bool(torch.isfinite(value).all()) for value in weights):
        return Judgment("weights", True, "All weights are finite.")
    return Judgment("weights", False, "Training diverged: the weights are no longer finite.", DIVERGED_ADVICE)


def judge_loss(losses: Sequence[float]) -> Judgment | None:
    """Judge whether a loss has risen above its lowest level, smoothed over a tenth of its course.

    Args:
        losses: one term of the loss, with a constant weight, at the reports of one phase so far.

    Returns:
        The judgment; None while there are too few reports.
    """
    if len(losses) < MIN_REPORTS:
        return None
    width = max(5, len(losses) // 10)
    smooth = np.convolve(losses, np.full(width, 1 / width), "valid")
    rise = float(smooth[-1] / max(smooth.min(), np.finfo(float).tiny))
    if rise <= MAX_LOSS_RISE:
        return Judgment("loss", True, f"The loss is near its lowest level ({rise:.2f} times as large).")
    return Judgment(
        "loss",
        False,
        f"The loss rises: it is {rise:.1f} times as large as it was at its lowest.",
        "The learning rate is too high: start a new run with a tenth of it (foreground.learning_rate.peak).",
    )


def judge_background(unexplained: Float[Tensor, " images"]) -> Judgment:
    """Judge whether a trained background leaves something for slots to explain.

    Args:
        unexplained: of each image, as in `HealthMeasures`.
    """
    error = float(unexplained.float().quantile(TYPICAL_IMAGES))
    figure = f"a hundredth of their pixels differ from it by {error:.2f} or more (of 3)"
    if error >= MIN_UNEXPLAINED:
        return Judgment("background", True, f"The background leaves objects unexplained: in some images, {figure}.")
    return Judgment(
        "background",
        False,
        "The background explains the images completely and leaves nothing to the slots: even in the images that it "
        f"fits worst, no more than {figure}. Either it has learned the objects, as it does if they stand still, or the "
        "images show none.",
        "Give images in which objects are in other places or sometimes missing; if they are, train the background for "
        "fewer steps (background.steps) or use a smaller network (architecture.background_network).",
    )


def judge_empty_slots(found: Bool[Tensor, "images slots"]) -> Judgment:
    """Judge how many slots find something in more than 2% of the images.

    Args:
        found: whether a slot owns a pixel of an image.
    """
    slots = found.shape[1]
    empty = int((found.float().mean(0) < DEAD_THRESHOLD).sum())
    if empty <= MAX_EMPTY_SHARE * slots:
        return Judgment("empty slots", True, f"{slots - empty} of {slots} slots find something.")
    if empty == slots:
        return Judgment(
            "empty slots",
            False,
            f"No slot outweighs the background anywhere in the {len(found)} images that were looked at.",
            "Train longer; if that does not help, with a lower learning rate (foreground.learning_rate.peak), fewer "
            "slots (architecture.num_slots), or a smaller foreground.entropy_weight or foreground.slot_use_weight.",
        )
    return Judgment(
        "empty slots",
        False,
        f"{empty} of {slots} slots outweigh the others next to nowhere in the {len(found)} images that were looked at.",
        "Train with fewer slots, about as many as the images have objects (architecture.num_slots), or longer.",
    )


def judge_shared_slots(largest_share: float | None) -> Judgment | None:
    """Judge whether slots share what they explain.

    Args:
        largest_share: as in `HealthMeasures`.

    Returns:
        The judgment; None if slots explain nothing.
    """
    if largest_share is None:
        return None
    if largest_share >= MIN_LARGEST_SHARE:
        finding = f"Objects belong to one slot each: where they are, it has {largest_share:.0%} of the slots' weight."
        return Judgment("shared slots", True, finding)
    return Judgment(
        "shared slots",
        False,
        f"Slots share objects: where these are, the strongest slot has only {largest_share:.0%} of the slots' weight.",
        "Train longer, with fewer slots (architecture.num_slots), or with a larger foreground.entropy_weight.",
    )


def judge_reconstruction(change: float | None) -> Judgment | None:
    """Judge whether reconstructions follow the images.

    Args:
        change: as in `HealthMeasures`.

    Returns:
        The judgment; None if the images are all the same.
    """
    if change is None:
        return None
    figure = f"reconstructions differ from each other by {change:.0%} of what images do"
    if change >= MIN_CHANGE:
        return Judgment("reconstruction", True, f"The model looks at the images: {figure}.")
    return Judgment(
        "reconstruction",
        False,
        f"The model paints nearly the same whatever the image: {figure}.",
        "Start a new run with a lower learning rate (foreground.learning_rate.peak) or another seed; if the images "
        "differ in little but noise, give others.",
    )


def judge_measures(measures: HealthMeasures, *, objects: bool) -> list[Judgment]:
    """Judge what was measured, except what only follows from another problem.

    Slots are not judged if the background leaves them nothing to find; shared slots and reconstructions are not judged
    if slots find nothing.

    Args:
        measures: the measures of a model.
        objects: whether objects have been trained for so long that slots should have found theirs.
    """
    background = judge_background(measures.unexplained)
    judged: list[Judgment | None] = [background]
    if objects and background.healthy:
        judged.append(judge_empty_slots(measures.found))
        if measures.found.any():
            judged += [judge_shared_slots(measures.largest_share), judge_reconstruction(measures.change)]
    return [one for one in judged if one is not None]
