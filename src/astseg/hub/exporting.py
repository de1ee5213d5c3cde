"""Export a trained model for others: in half precision, with a model card that says where it comes from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from astseg._core.atomic_io import atomic_folder
from astseg._core.file_names import RUN_FILE
from astseg._core.input_files import read_json
from astseg._core.progress import Progress
from astseg._core.settings_io import differing_settings
from astseg._core.text import escape_markdown, format_value
from astseg.data.store import Store
from astseg.evaluation.evaluator import Means, ScoreSummary, evaluate
from astseg.evaluation.scores_file import describe_data
from astseg.model.ast_seg import AstSeg
from astseg.model.serialization import WEIGHTS_FILE
from astseg.training.presets import PRESETS
from astseg.training.run import scored_split
from astseg.training.run_folder import RunSettings, phase_seconds, read_run_with_data, trained_model, where_stopped

CARD_FILE = "README.md"
"""The name of a model card's file on the model hub."""


def export_model(run: Path, out: Path, device: torch.device, progress: Progress | None = None) -> ScoreSummary | None:
    """Write a run's model in half precision, with a model card.

    The halved model is scored; the card shows its scores beside those of the original weights.

    Args:
        run: the folder of a training run, whose data must still be there.
        out: the folder to make.
        device: the device for scoring.
        progress: called with the number of images scored so far and in all.

    Returns:
        The scores of the halved model; None if the data has no masks.

    Raises:
        AstSegError: the run has no model, its data is gone, or the folder exists.
    """
    settings = read_run_with_data(run)
    model = trained_model(run).to(device)
    with atomic_folder(out) as folder:
        whole = _score(model, settings, progress)
        # Parameters and BatchNorm's statistics; its counters are integers and stay as they are.
        model.half().save_pretrained(folder)
        halved = AstSeg.from_pretrained(folder).to(device)
        scores = _score(halved, settings, progress)
        size = (folder / WEIGHTS_FILE).stat().st_size
        (folder / CARD_FILE).write_text(_card(run, settings, size, whole, scores), encoding="utf-8")
    return scores


def _score(model: AstSeg, settings: RunSettings, progress: Progress | None) -> ScoreSummary | None:
    split = scored_split(Store(settings.data))
    return None if split is None else evaluate(model, split, progress=progress).summary()


def _card(run: Path, settings: RunSettings, size: int, whole: ScoreSummary | None, halved: ScoreSummary | None) -> str:
    data = describe_data(Store(settings.data))
    architecture = settings.recipe.architecture
    height, width = architecture.image_size
    name = data.dataset or "the owner's images"
    lines = [
        "---",
        "license: mit",
        "library_name: astseg",
        "pipeline_tag: image-segmentation",
        "tags: [object-centric-learning, unsupervised-segmentation]",
        "---",
        "",
        f"# {escape_markdown(settings.title)}",
        "",
        "Finds the objects in images like those that it was trained on, by astseg and without any labels.",
        "",
        "```python",
        "import astseg",
        "",
        'model = astseg.load_model("FOLDER OF THIS FILE")',
        "labels = model.segment(images).labels  # paths, arrays or tensors in, N x H x W out; 0 is the background",
        "```",
        "",
        "| | |",
        "| --- | --- |",
        f"| Data | {escape_markdown(f'{name}: {_counts(data.images)} images; {data.protocol}')} |",
        f"| Images | {height} x {width}, up to K = {architecture.num_slots} objects |",
        f"| Recipe | {escape_markdown(_recipe(settings))}, seed {settings.seed} |",
        *([f"| Begun with | the trained model {escape_markdown(settings.model)} |"] if settings.model else []),
        f"| Steps | {_steps(settings)} |",
        *([f"| **Not finished** | trained up to {stopped} |"] if (stopped := where_stopped(run)) else []),
        f"| Time | {_times(phase_seconds(run))} |",
        *(f"| {title} | {escape_markdown(str(value))} |" for title, value in _origin(run)),
        f"| File | {size / 1e6:.1f} MB, half precision |",
    ]
    if halved is not None and whole is not None:
        lines += [
            "",
            "## Scores on held-out images",
            "",
            *_score_table(whole, halved),
            "",
            escape_markdown(halved.protocol),
        ]
    return "\n".join(lines) + "\n"


def _score_table(whole: ScoreSummary, halved: ScoreSummary) -> list[str]:
    rows = {
        "all": halved.overall,
        **({"two and more objects": halved.two_or_more_objects} if halved.two_or_more_objects else {}),
        **{"1 object" if count == 1 else f"{count} objects": means for count, means in halved.by_objects.items()},
        "*all, before halving*": whole.overall,
        "*background everywhere*": halved.background_everywhere,
    }
    head = ["| | images | mIoU | ARI-FG | ARI | MSC-FG |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    return head + [f"| {title} | {_cells(means)} |" for title, means in rows.items()]


def _cells(means: Means) -> str:
    scores = (means.miou, means.ari_fg, means.ari, means.msc_fg)
    return " | ".join([str(means.images), *(f"{100 * score:.1f}" for score in scores)])


def _counts(images: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in images.items())


def _times(seconds: Mapping[str, float]) -> str:
    return escape_markdown(", ".join(f"{phase} {time:.0f} s" for phase, time in seconds.items())) or "not recorded"


def _recipe(settings: RunSettings) -> str:
    preset = PRESETS.get(settings.preset or "")
    if preset is None:
        return settings.preset or "of its own"
    changes = differing_settings(settings.recipe, preset.recipe)
    changed = ", ".join(f"{name} {format_value(own)}" for name, (own, _) in changes.items())
    return f"{preset.name}, changed: {changed}" if changed else preset.name


def _steps(settings: RunSettings) -> str:
    background, foreground = settings.recipe.background, settings.recipe.foreground
    alone = f"background {background.steps}, batches of {background.batch_size}"
    objects = f"objects {foreground.steps}, batches of {foreground.batch_size} ({foreground.scenario})"
    match foreground.scenario:
        case "background":
            return alone
        case "baseline":
            return objects
        case _:
            return f"{alone}; {objects}"


def _origin(run: Path) -> list[tuple[str, Any]]:
    origin = read_json(run / RUN_FILE).get("provenance")  # `read_run` has seen that it is an object
    origin = origin if isinstance(origin, dict) else {}
    titles = {"machine": "Machine", "commit": "Commit", "astseg": "astseg", "torch": "torch"}
    return [(title, origin[key]) for key, title in titles.items() if origin.get(key)]
