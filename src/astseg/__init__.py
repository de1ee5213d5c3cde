"""Find and segment the objects in images and fixed-camera video, without any labels (AST-Seg, WACV 2023).

Use a trained model::

    import astseg

    model = astseg.load_model("rooms")        # a run, a model folder, a shipped model, or a name on the hub
    found = model.segment("image.jpg")        # a path, a PIL image, an array, a tensor, or a list of these
    found.labels, found.masks, found.positions

* `load_model`, `list_models`: trained models by name
* `AstSeg`, `Architecture`: the model, and the settings that its weights' shapes depend on
* `register_network`: let these name a network of your own
* `Segmentation`: the result of `AstSeg.segment`
* `segment_source`, `open_source`, `open_sources`: turn a folder, a video or an array, or several, into labels, overlays
  and objects.json
* `convert_results`, `FormatRequest`: write these in the formats of other programs, such as COCO and YOLO

Train one::

    store = astseg.import_source("my-images", "my-data")
    choice = astseg.choose_recipe(store, device, astseg.RecipeRequest(minutes=30))
    astseg.Trainer(choice.recipe, store["train"].images, "my-run", device).run()

* `Store`, `import_source`, `make_store`: data, prepared from images of any source or generated with exact masks
* `Recipe`, `BackgroundTraining`, `ForegroundTraining`: all training settings; `docs/settings.md` has their meaning
* `PRESETS`, `get_preset`, `override`: recipes by name, and with settings changed
* `choose_recipe`, `RecipeRequest`: a recipe for the images, the machine and what you ask for
* `Trainer`: trains; a run that is stopped and resumed ends with the same result
* `Callback`: what watches a training, or adds losses of your own to it

Score it::

    astseg.evaluate(model, store["test"]).summary().overall

* `evaluate`, `Evaluation`, `score_segmentations`: mIoU, ARI-FG, ARI, MSC-FG, MSC, MSE per image
* `score_source`, `score_results`: a model on images as they are, or results of any program, with F-measure, AP, AR, PQ

What a user can get wrong (files, data, folders, machines) raises an `AstSegError`, whose message says what to do;
wrong arguments of a call raise ValueError or TypeError. Everything else is imported from its own
module; `docs/architecture.md` describes the folders, and `docs/research.md` puts parts of your own in.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from astseg._core.errors import AstSegError
    from astseg._core.settings_io import override
    from astseg.data.importing import import_source
    from astseg.data.opening import open_source
    from astseg.data.scenes import make_store
    from astseg.data.several import open_sources
    from astseg.data.store import Store
    from astseg.evaluation.evaluator import Evaluation, evaluate
    from astseg.evaluation.metrics import score_segmentations
    from astseg.hub.loading import load_model
    from astseg.hub.names import list_models
    from astseg.inference.formats.converting import FormatRequest, convert_results
    from astseg.inference.scoring import score_results, score_source
    from astseg.inference.segmenting import segment_source
    from astseg.model.architecture import Architecture
    from astseg.model.ast_seg import AstSeg
    from astseg.model.own_networks import register_network
    from astseg.model.segmentation import Segmentation
    from astseg.training.callbacks import Callback
    from astseg.training.config import BackgroundTraining, ForegroundTraining, Recipe
    from astseg.training.loop import Trainer
    from astseg.training.presets import PRESETS, get_preset
    from astseg.training.recipe_choice import choose_recipe
    from astseg.training.recipe_request import RecipeRequest

__all__ = [
    "PRESETS",
    "Architecture",
    "AstSeg",
    "AstSegError",
    "BackgroundTraining",
    "Callback",
    "Evaluation",
    "ForegroundTraining",
    "FormatRequest",
    "Recipe",
    "RecipeRequest",
    "Segmentation",
    "Store",
    "Trainer",
    "__version__",
    "choose_recipe",
    "convert_results",
    "evaluate",
    "get_preset",
    "import_source",
    "list_models",
    "load_model",
    "make_store",
    "open_source",
    "open_sources",
    "override",
    "register_network",
    "score_results",
    "score_segmentations",
    "score_source",
    "segment_source",
]

_NAMES_BY_MODULE = {
    "training.callbacks": ("Callback",),
    "training.config": ("BackgroundTraining", "ForegroundTraining", "Recipe"),
    "data.importing": ("import_source",),
    "data.scenes": ("make_store",),
    "data.several": ("open_sources",),
    "data.opening": ("open_source",),
    "data.store": ("Store",),
    "_core.errors": ("AstSegError",),
    "evaluation.evaluator": ("Evaluation", "evaluate"),
    "evaluation.metrics": ("score_segmentations",),
    "model.architecture": ("Architecture",),
    "model.ast_seg": ("AstSeg",),
    "model.own_networks": ("register_network",),
    "model.segmentation": ("Segmentation",),
    "_core.settings_io": ("override",),
    "training.presets": ("PRESETS", "get_preset"),
    "hub.loading": ("load_model",),
    "hub.names": ("list_models",),
    "inference.formats.converting": ("FormatRequest", "convert_results"),
    "inference.scoring": ("score_results", "score_source"),
    "inference.segmenting": ("segment_source",),
    "training.recipe_choice": ("choose_recipe",),
    "training.recipe_request": ("RecipeRequest",),
    "training.loop": ("Trainer",),
}
_MODULE_BY_NAME = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a name on first use (PEP 562): importing torch takes seconds, and not every use needs it."""
    if name not in _MODULE_BY_NAME:
        raise AttributeError(f"module 'astseg' has no attribute '{name}'")
    value = getattr(import_module(f"astseg.{_MODULE_BY_NAME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
