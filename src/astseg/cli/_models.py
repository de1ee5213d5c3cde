"""Load models, and say if they were not trained to the end."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astseg._core.errors import AstSegError
from astseg.cli._console import messages, print_note
from astseg.cli._options import parse_changes

if TYPE_CHECKING:
    import torch

    from astseg.model.architecture import Architecture
    from astseg.model.ast_seg import AstSeg


def open_model(name: str, device: "torch.device", rule: Sequence[str] | None = None) -> "AstSeg":
    """Load a model, and say so if its run is not finished.

    Args:
        name: a run, a model's folder, or the name of a model.
        device: where it will compute.
        rule: changes of its rule for labels, each ``NAME=VALUE``.

    Raises:
        AstSegError: there is no such model, it cannot be read, only its background is trained, or it cannot have such
            a rule.
    """
    from astseg.hub.loading import load_model

    check_trained(Path(name))
    model = load_model(name, _say).to(device)
    if rule:
        _change_rule(model, parse_changes(rule, "--rule"))
    return model


def open_segmenter(name: str, device: "torch.device", rule: Sequence[str] | None = None) -> "AstSeg":
    """Load a model as `open_model` does, for a process that segments images with it and does not train it.

    The process computes with zeros in place of denormal numbers from then on. A label rule's weights fall below the
    smallest normal number where a layer is far away, and processors of some kinds are many times slower there.
    """
    import torch

    torch.set_flush_denormal(True)  # before anything is computed: torch's threads take it from the one that begins them
    return open_model(name, device, rule)


def _change_rule(model: "AstSeg", changes: Mapping[str, Any]) -> None:
    from astseg._core.settings_io import override

    if model.label_rule is None:
        raise AstSegError("--rule: the model labels pixels by its weights alone, and has no rule to change. Omit it.")
    try:
        model.label_rule = override(model.label_rule, changes)
    except ValueError as error:
        raise AstSegError(f"--rule: {error}.") from error


def find_architecture(name: str) -> "Architecture":
    """Return the architecture of a model that finds objects; `open_model` says how far it is trained.

    Raises:
        AstSegError: there is no such model, it cannot be read, or only its background is trained.
    """
    from astseg.hub.loading import load_model

    _check_finds_objects(Path(name))
    return load_model(name, _say).architecture


def check_model_name(name: str) -> None:
    """Refuse a name that no model can have, before anything slow is imported; `open_model` finds all other mistakes.

    Raises:
        ModelNotFoundError: there is no such folder or model, nor can the hub have one of this name.
    """
    from astseg.hub.names import local_model

    if not Path(name).exists():
        local_model(name)


def lasting_name(name: str) -> str:
    """Return a name that stands for the same model in whatever folder a command is run later.

    Raises:
        AstSegError: there is no such folder or model, nor can the hub have one of this name.
    """
    from astseg.hub.names import SHIPPED_MODELS, local_model

    folder = local_model(name)
    return name if folder is None or folder.parent == SHIPPED_MODELS else str(Path(name).resolve())


def check_trained(run: Path) -> None:
    """Say how far a run was trained if it is not finished.

    Raises:
        AstSegError: only its background is trained.
    """
    _check_finds_objects(run)
    say_progress(run)


def say_progress(run: Path) -> None:
    """Say how far a run was trained if it is not finished."""
    from astseg.training.run_folder import where_stopped

    if stopped := where_stopped(run):
        print_note("Note", f"{run} is not finished: its model stopped at {stopped}.")


def _check_finds_objects(run: Path) -> None:
    """Raise unless a folder's model is trained to find objects, as far as it is known.

    Raises:
        AstSegError: only its background is trained.
    """
    from astseg.training.run_folder import has_trained_objects, read_progress, where_stopped

    if not has_trained_objects(run):
        progress, stopped = read_progress(run), where_stopped(run)
        resumable = stopped and progress and progress.scenario != "background"
        remedy = f" It stopped at {stopped}. Resume it by 'astseg train --resume'." if resumable else ""
        raise AstSegError(f"{run} has trained only the background, so its model finds no objects.{remedy}")


def _say(text: str) -> None:
    messages.print(text, style="dim", markup=False)
