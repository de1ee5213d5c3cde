"""Write fingerprints of results that a refactoring must not change, to compare before and after it on one machine.

::

    python benchmarks/fingerprints.py before.json              # write them
    python benchmarks/fingerprints.py after.json before.json   # write them, and print what differs

They cover the bytes of generated scenes and of a store; the labels and scores of the models that come with astseg; the
weights after a tiny seeded run of each scenario, both uninterrupted and resumed after each step; and every preset. This
takes about a minute on one core. Weights depend on the processor and on torch, so do not commit the files.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import torch

from astseg._core.settings_io import to_builtins
from astseg.data.scenes import SCENES, make_store
from astseg.data.store import Store
from astseg.evaluation.evaluator import evaluate
from astseg.hub.loading import load_model
from astseg.hub.names import list_models
from astseg.training.config import Recipe, Scenario
from astseg.training.loop import Trainer
from astseg.training.presets import PRESETS
from astseg.training.small_recipes import cpu_recipe

SEED = 77
SIDE = 32


def fingerprints(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of each fingerprint."""
    for name in SCENES:
        store = make_store(folder / name, name, {"train": 6, "test": 6}, SEED, SIDE, workers=1)
        for file in sorted(store.path.glob("*.npy")):
            yield f"scenes {name} {file.name}", digest(file.read_bytes())
    for preset in PRESETS.values():
        yield f"preset {preset.name}", digest(json.dumps(to_builtins(preset.recipe), sort_keys=True).encode())
    for name in list_models():
        model = load_model(name)
        size = model.image_size[0]
        scenes = name.partition("-")[0]
        split = make_store(folder / f"{name}-{size}", scenes, {"test": 12}, SEED, size, workers=1)["test"]
        images = torch.from_numpy(split.images[:].copy()).permute(0, 3, 1, 2) / 255
        yield f"labels {name}", digest(model.segment(images).labels.numpy().tobytes())
        yield f"scores {name}", to_builtins(evaluate(model, split).summary().overall)
    for scenario in get_args(Scenario):
        for stops in (False, True):
            state = trained(Store(folder / "rooms"), scenario, folder / f"{scenario}-{stops}", stops)
            yield f"weights {scenario}{' resumed' if stops else ''}", state


def trained(store: Store, scenario: Scenario, folder: Path, stops: bool) -> str:
    """Return the fingerprint of the weights after a tiny run; ``stops``: stop and resume it after each step."""
    images = store["train"].images
    trainer = Trainer(tiny_recipe(scenario), images, folder, "cpu", seed=3)
    while not trainer.run(lambda: stops):
        trainer = Trainer.resume(images, folder, "cpu")
    weights = sorted(trainer.model.state_dict().items())
    return digest(b"".join(name.encode() + value.numpy().tobytes() for name, value in weights))


def tiny_recipe(scenario: Scenario) -> Recipe:
    """Return a recipe with a few steps of everything in the small recipes."""
    recipe = cpu_recipe((SIDE, SIDE), 3)
    return replace(
        recipe,
        background=replace(recipe.background, steps=4, batch_size=4, exponent_ramp_start=0, exponent_ramp_steps=2),
        foreground=replace(recipe.foreground, scenario=scenario, steps=6, frozen_steps=3, batch_size=4, shadow_start=2),
    )


def digest(data: bytes) -> str:
    """Return a short hash."""
    return hashlib.sha256(data).hexdigest()[:16]


def main(place: str, before: str | None = None) -> int:
    """Write the fingerprints; return how many differ from those in the file ``before``."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        found = dict(fingerprints(Path(folder)))
    Path(place).write_text(json.dumps(found, indent=1) + "\n")
    if before is None:
        return 0
    known = json.loads(Path(before).read_text())
    differing = sorted(name for name in known.keys() | found.keys() if known.get(name) != found.get(name))
    for name in differing:
        print(f"{name}: {known.get(name)} before, {found.get(name)} now")
    print(f"{len(found)} fingerprints, {len(differing)} differ from {before}")
    return len(differing)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", help="the file to write")
    parser.add_argument("before", nargs="?", help="a file to compare with")
    chosen = parser.parse_args()
    sys.exit(min(1, main(chosen.place, chosen.before)))
