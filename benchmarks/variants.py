"""Compare variants of the small recipe, each with one part changed, in short runs with several seeds.

    astseg data make rooms rooms --size 32 --train 8000 --test 500
    python benchmarks/variants.py rooms --slots 3 --log-activation 4 --slot-cost 3

Prints a line for each run, and for each variant the mean, the lowest and the highest score over its seeds. Pixels are
labeled by the paper's rule, so that only training matters.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from astseg.data.store import Store
from astseg.evaluation.evaluator import Means, evaluate
from astseg.model.backgrounds.base import Background, BackgroundReconstruction
from astseg.model.backgrounds.region import LATENT_DIM, RegionBackground, edges
from astseg.training.config import Recipe
from astseg.training.loop import Trainer
from astseg.training.shortening import with_steps
from astseg.training.small_recipes import STATIC_ENTROPY_WEIGHT, by_muon, cpu_recipe

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def changed(recipe: Recipe, part: str, **changes: Any) -> Recipe:
    """Return the recipe with other settings in its architecture, background or foreground."""
    return replace(recipe, **{part: replace(getattr(recipe, part), **changes)})


class LinearBackground(Background):
    """The region background with an earlier decoder without regions: a mean image and a basis of sixteen.

    Args:
        image_size: height and width in pixels.
    """

    def __init__(self, image_size: tuple[int, int]) -> None:
        super().__init__()
        self.encoder = RegionBackground(image_size).encoder
        self.decoder = nn.Linear(LATENT_DIM, 4 * image_size[0] * image_size[1])
        self.unflatten = nn.Unflatten(1, (4, *image_size))
        nn.init.normal_(self.decoder.weight, std=0.02)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> BackgroundReconstruction:
        """Encode the images into sixteen numbers each, and decode these."""
        painted = self.unflatten(self.decoder(self.encoder(torch.cat((images, edges(images)), 1))).sigmoid())
        return BackgroundReconstruction(painted[:, :3], painted[:, 3:])


LINEAR_BACKGROUND = "linear-background"
VARIANTS: Mapping[str, Callable[[Recipe], Recipe]] = MappingProxyType(
    {
        "curriculum": lambda recipe: recipe,
        "baseline": lambda recipe: changed(
            recipe, "foreground", scenario="baseline", steps=recipe.background.steps + recipe.foreground.steps
        ),
        "frozen": lambda recipe: changed(recipe, "foreground", scenario="frozen"),
        "muon": by_muon,
        LINEAR_BACKGROUND: lambda recipe: recipe,  # `run` replaces the background network
        "early-ramp": lambda recipe: changed(recipe, "background", exponent_ramp_start=0),
        "no-attraction": lambda recipe: changed(recipe, "architecture", residual_attention_bias=0.0),
        "more-attraction": lambda recipe: changed(recipe, "architecture", residual_attention_bias=8.0),
        "places": lambda recipe: changed(recipe, "architecture", slot_position_prior=True),
        "places-and-more-attraction": lambda recipe: changed(
            VARIANTS["places"](recipe), "architecture", residual_attention_bias=8.0
        ),
        "no-shadows": lambda recipe: changed(recipe, "architecture", shadows=False),
        "less-entropy": lambda recipe: changed(recipe, "foreground", entropy_weight=STATIC_ENTROPY_WEIGHT),
        "no-slot-cost": lambda recipe: changed(recipe, "foreground", slot_use_weight=0.0),
        "no-revival": lambda recipe: changed(recipe, "foreground", reinitialize_slots_until=0),
        "published-activation": lambda recipe: changed(recipe, "architecture", initial_background_log_activation=11.0),
        "baseline-no-attraction": lambda recipe: changed(
            VARIANTS["baseline"](recipe), "architecture", residual_attention_bias=0.0
        ),
    }
)


def run(name: str, recipe: Recipe, data: Store, seed: int) -> Means:
    """Train a variant of a recipe and score the model by the paper's rule."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(VARIANTS[name](recipe), data["train"].images, Path(folder), DEVICE, seed)
        if name == LINEAR_BACKGROUND:
            trainer.model.background = LinearBackground(trainer.model.image_size).to(DEVICE)
        trainer.run()
        return evaluate(trainer.model, data["test"], use_label_rule=False).summary().overall


def main() -> None:
    """Train the variants and print their scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="prepared images with masks, as from astseg data make")
    parser.add_argument("--slots", type=int, required=True, help="K")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="variant")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="seed")
    parser.add_argument("--background", type=int, default=800, help="steps for the background")
    parser.add_argument("--steps", type=int, default=2500, help="steps for the objects")
    parser.add_argument(
        "--log-activation", type=float, default=2.0, help="the background's log activation before training"
    )
    parser.add_argument("--slot-cost", type=float, default=1.0, help="the cost of a slot in use, in pixels")
    arguments = parser.parse_args()
    data = Store(arguments.data)
    height, width = data["train"].images.shape[1:3]
    whole = cpu_recipe(
        (height, width),
        arguments.slots,
        background_log_activation=arguments.log_activation,
        slot_cost=arguments.slot_cost,
    )
    recipe = with_steps(whole, arguments.background, arguments.steps)
    for name in arguments.variants:
        scores = []
        for seed in arguments.seeds:
            begin = time.perf_counter()
            found = run(name, recipe, data, seed)
            scores.append(found.miou)
            seconds = time.perf_counter() - begin
            line = f"{name:24} seed {seed}: mIoU {found.miou:.3f}  ARI-FG {found.ari_fg:.3f}  {seconds:4.0f} s"
            print(line, flush=True)
        mean = sum(scores) / len(scores)
        print(f"{name:24} mIoU {mean:.3f} from {min(scores):.3f} to {max(scores):.3f}", flush=True)


if __name__ == "__main__":
    main()
