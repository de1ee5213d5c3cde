"""What tests of many parts need: shapes checked while they run, a tiny recipe, tiny images and a tiny store."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

# A shell that runs the tests in the background lets them and all they start ignore Ctrl-C, which some tests press.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Shapes in signatures are checked from here on, so this comes before anything imports the modules. Left out are those
# whose settings refuse wrong values by themselves: their errors are what people see.
CHECKED = (
    *(f"model.{name}" for name in ("ast_seg", "attention", "backgrounds", "features", "glimpses", "latents")),
    *(f"model.{name}" for name in ("foreground_mask", "refinement", "rendering")),
    *("training.losses", "_core.image_conversion", "training.batches", "training.complexity", "training.phases"),
)
jaxtyping.install_import_hook([f"astseg.{module}" for module in CHECKED], "beartype.beartype")

from astseg.data.store import Bytes, Store  # noqa: E402
from astseg.data.store_writer import StoreWriter  # noqa: E402
from astseg.training.config import Recipe  # noqa: E402
from astseg.training.presets import cpu_recipe  # noqa: E402

SIDE = 32
COUNT = 12


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """For tests of what people see who hand in something of a wrong shape."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def tiny_images() -> Bytes:
    """Twelve images with a bright square each, somewhere on a dark ground that differs a little."""
    images = _images()[0]
    images.setflags(write=False)
    return images


@pytest.fixture
def tiny_store(tmp_path: Path) -> Store:
    """A store of twelve training images and four held-out ones with masks."""
    images, masks = _images()
    with StoreWriter(tmp_path / "store", (SIDE, SIDE), "squares", "a protocol") as writer:
        with writer.split("train") as split:
            split.append(images, masks)
        with writer.split("test") as split:
            split.append(images[:4], masks[:4])
    return Store(tmp_path / "store")


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    """Three phases of a few steps with the smallest networks, at 32x32 with two slots."""
    recipe = cpu_recipe((SIDE, SIDE), 2)
    return replace(
        recipe,
        architecture=replace(recipe.architecture, refinement="none"),
        background=replace(recipe.background, steps=3, batch_size=4, exponent_ramp_start=0, exponent_ramp_steps=2),
        foreground=replace(recipe.foreground, steps=6, frozen_steps=3, batch_size=4, shadow_start=0),
    )


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
