"""What the public functions say of arguments of another kind than they take."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import astseg
from astseg.data.store import Store
from astseg.inference.tracking import Tracker
from astseg.model.ast_seg import AstSeg
from astseg.training.config import Recipe

NONE: Any = None
NUMBER: Any = 5
SQUARE = np.pad(np.ones((2, 2), np.int64), 3)


@pytest.fixture
def made(tiny_recipe: Recipe, tiny_store: Store, tmp_path: Path) -> dict[str, Any]:
    images = tiny_store["train"].images
    model = AstSeg(tiny_recipe.architecture)
    return {"recipe": tiny_recipe, "store": tiny_store, "images": images, "model": model, "folder": tmp_path / "new"}


def trainer(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda made: astseg.Trainer(
        **{"start": made["recipe"], "images": made["images"], "folder": made["folder"], "device": "cpu"} | changes
    )


def segment(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda made: astseg.segment_source(
        **{"model": made["model"], "source": astseg.open_source(made["store"].path), "out": made["folder"]} | changes
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (trainer(execution=NUMBER), "execution should be an Execution, not an int"),
        (trainer(model=NUMBER), "model should be an AstSeg or None, not an int"),
        (trainer(folder=NONE), "folder should be a path, not a NoneType"),
        (trainer(images_sha256=NUMBER), "images_sha256 should be a str, not an int"),
        (trainer(save_every="x"), "save_every should be a number of seconds, at least 0, not 'x'"),
        (trainer(save_every=math.nan), "save_every should be a number of seconds, at least 0, not nan"),
        (trainer(save_every=-1), "save_every should be a number of seconds, at least 0, not -1"),
        (lambda made: astseg.Trainer.resume(made["images"], NONE, "cpu"), "folder should be a path"),
        (segment(batch_size=1.5), "batch_size should be a whole number, not 1.5"),
        (segment(batch_size="x"), "batch_size should be a whole number, not 'x'"),
        (segment(out=NUMBER), "out should be a path, not an int"),
        (lambda made: astseg.override(made["recipe"], NUMBER), r"override takes changes by .*, not an int"),
        (lambda made: astseg.override(made["recipe"], {5: 1}), r"override takes changes by .*, not a dict"),  # type: ignore[dict-item]
        (lambda _: astseg.override(5, {"a": 1}), "override takes settings, such as a Recipe, not an int"),
        (lambda _: astseg.override(Recipe, {"a": 1}), "override takes settings, such as a Recipe, not a type"),
        (lambda made: astseg.choose_recipe(made["store"], "cpu", NUMBER), "request should be a RecipeRequest or None"),
        (lambda _: astseg.Architecture((64, 64), 3, transformer=NUMBER), r"transformer should be TransformerLayout\("),
        (
            lambda _: astseg.Architecture((64, 64), 3, latents=NONE),
            r"latents should be LatentLayout\(\.\.\.\), not None",
        ),
        (lambda _: astseg.Architecture((64, 64), 3, slow_features=NUMBER), r"slow_features should be SlowFeatureL"),
        (lambda _: astseg.Architecture((64, 64), 3, feature_network=NUMBER), "feature_network should be a word, not 5"),
        (lambda _: astseg.Recipe(NONE), r"architecture should be Architecture\(\.\.\.\), not None"),
        (
            lambda _: astseg.Recipe(astseg.Architecture((64, 64), 3), backbone=NUMBER),
            "backbone should be a word, not 5",
        ),
        (
            lambda _: astseg.Recipe(astseg.Architecture((64, 64), 3), foreground=NUMBER),
            r"foreground should be Foreground",
        ),
        (lambda _: astseg.FormatRequest(("coco",), NONE), "categories are a number of kinds, or .*, not a NoneType"),
        (lambda _: astseg.FormatRequest(("coco",), "car"), "categories are a number of kinds, or .*, not a str"),  # type: ignore[arg-type]
        (lambda _: astseg.FormatRequest(("coco",), {1: NUMBER}), "categories are names by slot, .*, not an int"),
        (lambda _: astseg.FormatRequest(("coco",), {"x": "a"}), "categories are names by slot, .*, not a str"),  # type: ignore[dict-item]
        (lambda _: astseg.FormatRequest(("coco",), {}, "x"), "a tolerance is a number of pixels, not a str"),  # type: ignore[arg-type]
        (lambda _: astseg.convert_results(NONE, astseg.FormatRequest(("coco",))), "folder should be a path"),
        (lambda _: astseg.open_source(["pictures"]), "path should be a path, not a list"),  # type: ignore[arg-type]
        (lambda _: astseg.open_sources(NONE), "places should be a path or several, not a NoneType"),
        (lambda _: astseg.open_sources([NUMBER]), "each of places should be a path, not an int"),
        (lambda made: astseg.import_source(NONE, made["folder"]), "path should be a path or several, not a NoneType"),
        (lambda _: astseg.FormatRequest(NONE), r"names of formats, such as .*, not a NoneType"),
        (lambda _: astseg.RecipeRequest(minutes="3"), "minutes should be a number, not a str"),  # type: ignore[arg-type]
        (lambda _: astseg.RecipeRequest(num_slots=NONE, steps="9"), "steps should be a number, not a str"),  # type: ignore[arg-type]
        (trainer(callbacks=astseg.Callback()), r"callbacks are several, such as \[callback\], not a Callback"),
        (lambda _: astseg.Store(NONE), "path should be a path"),
        (lambda _: astseg.score_results(NONE, NONE), "results should be a path"),
        (lambda made: astseg.import_source(made["store"].path, NONE), "destination should be a path"),
        (lambda _: astseg.make_store(NONE, "rooms", {"train": 1}), "path should be a path"),
        (lambda _: astseg.score_segmentations([NONE], [NONE]), "labels should be an array N x H x W, or N arrays"),
        (lambda _: astseg.score_segmentations(SQUARE[None], SQUARE[None], 10**9), "num_labels should be between 0 and"),
        (lambda _: astseg.score_segmentations(SQUARE[None], SQUARE[None], 2.5), "num_labels should be a whole number"),  # type: ignore[arg-type]
        (lambda _: astseg.register_network("refinement", "own:five", NUMBER), "build should be a function or a class"),
        (lambda _: Tracker(NUMBER), "settings should be a TrackingSettings or None, not an int"),
        (lambda _: Tracker().update(SQUARE[:0]), r"labels should be H x W .*, not int64 of shape \(0, 8\)"),
        (lambda _: Tracker().update(torch.zeros(4, 0, dtype=torch.int64)), r"not int64 of shape \(4, 0\)"),
        (lambda _: Tracker().update(SQUARE, np.zeros(5)), r"features should be an array, .*, not of shape \(5,\)"),
    ],
)
def test_are_refused_in_words(
    made: dict[str, Any], call: Callable[[dict[str, Any]], object], message: str, unchecked_shapes: None
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call(made)
    assert not made["folder"].exists()


def test_one_place_stands_for_several(tiny_store: Store) -> None:
    assert astseg.open_sources(str(tiny_store.path)).places == astseg.open_sources([tiny_store.path]).places


def test_half_a_slot_is_none() -> None:
    with pytest.raises(astseg.AstSegError, match=r"should be a whole number, not 2\.5"):
        astseg.RecipeRequest(num_slots=2.5)  # type: ignore[arg-type]


def test_residuals_of_another_shape(unchecked_shapes: None) -> None:
    model = astseg.load_model("clevrtex")
    images = torch.rand(1, 3, *model.image_size)
    for method in (model.encode, model.forward):
        with pytest.raises(ValueError, match=r"coarse ground residuals N x \d+x32x32, not torch"):
            method(images, residuals=images)
