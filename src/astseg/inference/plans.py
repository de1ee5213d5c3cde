"""What a folder of results was begun with: whoever adds to it must ask for the same."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from astseg._core.atomic_io import atomic_write
from astseg.model.ast_seg import AstSeg


def write_plan(file: Path, plan: Mapping[str, Any]) -> None:
    """Write a plan, of values that JSON has, unless there is one."""
    if not file.is_file():
        with atomic_write(file) as partial:
            partial.write_text(json.dumps(plan, indent=2) + "\n")


def differing_names(plan: Mapping[str, Any], there: object) -> list[str]:
    """Return the names of what a plan has otherwise than the JSON that was found.

    >>> differing_names({"model": "clevr", "tiles": None}, {"model": "rooms", "tiles": None})
    ['model']
    """
    return [name for name in plan if not isinstance(there, dict) or there.get(name) != plan[name]]


def model_digest(model: AstSeg) -> str:
    """Return a hash of the settings and weights of a model."""
    digest = hashlib.sha256(repr((model.architecture, model.label_rule)).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode() + value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
