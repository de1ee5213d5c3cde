"""Shared by many tests: shape checks, a tiny recipe and its model, tiny images and a tiny store."""

import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch

collect_ignore = ["fuzz/guided.py", "other_programs"]
"""They need atheris, which is not installed with the other tools, and the programs of another environment."""

# A shell that runs the tests in the background makes them ignore Ctrl-C, which some tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Shapes in signatures are checked in modules that are imported after this. Those whose own checks refuse wrong values
# are left out: users see their errors.
CHECKED_MODULES = (
    *(f"model.{name}" for name in ("ast_seg", "attention", "backgrounds", "features", "glimpses", "latents")),
    *(f"model.{name}" for name in ("refinement", "rendering")),
    *(f"model.label_rule.{name}" for name in ("applying", "enlarging", "foreground", "posterior")),
    *("training.losses", "_core.image_conversion", "training.batches", "training.complexity", "training.phases"),
)
jaxtyping.install_import_hook([f"astseg.{module}" for module in CHECKED_MODULES], "beartype.beartype")
assert all(find_spec(f"astseg.{module}") for module in CHECKED_MODULES)  # the hook ignores names that have gone

from astseg.data.store import Bytes, Store  # noqa: E402
from astseg.data.store_writer import StoreWriter  # noqa: E402
from astseg.model.ast_seg import AstSeg  # noqa: E402
from astseg.model.own_networks import OWN  # noqa: E402
from astseg.model.slow_features.projection import sample_differences  # noqa: E402
from astseg.training import recipe_reasons, residuals  # noqa: E402
from astseg.training.config import BaselineTraining, Recipe  # noqa: E402
from astseg.training.frozen_backgrounds import PAINTING_BATCH_SIZE  # noqa: E402
from astseg.training.memory import training_memory  # noqa: E402
from astseg.training.phases import phases  # noqa: E402
from astseg.training.small_recipes import cpu_recipe  # noqa: E402

SIDE = 32
COUNT = 12
PAIRS = 5_000


@pytest.fixture(scope="session", autouse=True)
def _memory_estimated_once() -> Iterator[None]:
    """Commands and choices of recipes estimate the same memory again and again, each time in half a second.

    Not for own networks, since one name stands for another network in another test.
    """
    known: dict[object, dict[str, float]] = {}

    def estimate(recipe: Recipe, images: int | None = None, parts: int = 1) -> dict[str, float]:
        if OWN in repr(recipe):
            return training_memory(recipe, images, parts)
        background, foreground = recipe.background, recipe.foreground
        key = (
            *(recipe.architecture, background.batch_size, background.automatic_complexity, foreground.batch_size),
            *(foreground.scenario, foreground.optimizer, foreground.slot_use_weight > 0),
            # Of the steps, only the last of each phase counts, by whether objects then cast shadows.
            *(phase.schedule(phase.settings.steps - 1 - phase.offset).shadows for phase in phases(recipe)),
            *(min(images or PAINTING_BATCH_SIZE, PAINTING_BATCH_SIZE), parts),
        )
        if key not in known:
            known[key] = training_memory(recipe, images, parts)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recipe_reasons, "training_memory", estimate)
        yield


@pytest.fixture(scope="session", autouse=True)
def _few_pairs() -> Iterator[None]:
    """Slow features are fitted to fewer pairs of cells: the images of the tests are few and small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(residuals, "sample_differences", partial(sample_differences, pairs=PAIRS))
        yield


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """Turn the checks off, for tests of the errors that users see for a wrong shape."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def tiny_images() -> Bytes:
    """Twelve images with a bright square on a dark background, whose color varies a little."""
    images = _images()[0]
    images.setflags(write=False)
    return images


@pytest.fixture(scope="session")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of twelve training images and four test images, with masks. Not to be changed."""
    path, (images, masks) = tmp_path_factory.mktemp("shared") / "store", _images()
    with StoreWriter(path, (SIDE, SIDE), "squares", "a protocol") as writer:
        with writer.split("train") as split:
            split.append(images, masks)
        with writer.split("test") as split:
            split.append(images[:4], masks[:4])
    return Store(path)


@pytest.fixture
def tiny_store(shared_store: Store, tmp_path: Path) -> Store:
    """A copy of this store."""
    return Store(shutil.copytree(shared_store.path, tmp_path / "store"))


BASELINE = BaselineTraining(background_rate=5.0, objects_warmup_steps=2, placement_step=3)


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    """Three phases of a few steps with the smallest networks, for 32x32 images and two slots."""
    recipe = cpu_recipe((SIDE, SIDE), 2)
    return replace(
        recipe,
        architecture=replace(recipe.architecture, refinement="none"),
        background=replace(recipe.background, steps=3, batch_size=4, exponent_ramp_start=0, exponent_ramp_steps=2),
        foreground=replace(recipe.foreground, steps=6, frozen_steps=3, baseline=BASELINE, batch_size=4, shadow_start=0),
    )


@pytest.fixture
def model(tiny_recipe: Recipe) -> AstSeg:
    """A model of `tiny_recipe`, with random weights."""
    torch.manual_seed(0)
    return AstSeg(tiny_recipe.architecture, tiny_recipe.label_rule).eval()


def _images() -> tuple[Bytes, Bytes]:
    random = np.random.default_rng(0)
    images = np.empty((COUNT, SIDE, SIDE, 3), np.uint8)
    masks = np.zeros((COUNT, SIDE, SIDE), np.uint8)
    for image, mask in zip(images, masks, strict=True):
        y, x = random.integers(0, SIDE - 8, 2)
        mask[y : y + 8, x : x + 8] = 1
        image[:] = random.integers(30, 60, 3)
        image[mask == 1] = random.integers(150, 256, 3)
    return images, masks
