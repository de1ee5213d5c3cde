"""Saving models and reading them from a folder or the model hub: config.json and model.safetensors.

Each of the two files holds the checksum of its content. Models of an older astseg have none and are read as they are.

The names of weights in the file are those of the modules' attributes. Attributes therefore keep their names, even where
the spelling is not that of the rest of the code: `centre`, `centres`, `colours` and `normalise`.
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import ModelHubMixin, hf_hub_download
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from astseg._core.arguments import as_path
from astseg._core.atomic_io import atomic_write
from astseg._core.checksums import SUM_KEY, seal, unseal
from astseg._core.errors import AstSegError, NonFiniteModelError, describe_mistake, wrong_argument
from astseg._core.file_names import CONFIG_FILE
from astseg._core.input_files import read_json
from astseg._core.settings_io import from_builtins, to_builtins
from astseg.model.architecture import Architecture
from astseg.model.label_rule.settings import LabelRule
from astseg.model.weights_check import describe_misfit, shapes_of

WEIGHTS_FILE = "model.safetensors"
FORMAT_VERSION = 3
_CARD = """---
{{ card_data }}
---

# A model of astseg

Finds the objects in images like those that it was trained on, without any labels, by
[AST-Seg](https://hal.science/hal-03931734) (WACV 2023). Say here what it was trained on, and how well it does.

```python
import astseg

model = astseg.load_model("THE FOLDER OR THE NAME OF THIS MODEL")
found = model.segment(images)  # paths, arrays or tensors
print(found.labels.shape)  # 0 is the background
```
"""


class SavedModel(
    nn.Module,
    ModelHubMixin,
    library_name="astseg",
    tags=["object-centric-learning", "unsupervised-segmentation"],
    license="mit",
    pipeline_tag="image-segmentation",
    model_card_template=_CARD,
):
    """A module with ``save_pretrained``, ``from_pretrained`` and ``push_to_hub``."""

    architecture: Architecture
    label_rule: LabelRule | None

    def _save_pretrained(self, save_directory: Path) -> None:
        rule = None if self.label_rule is None else to_builtins(self.label_rule)
        config = {"format_version": FORMAT_VERSION, "architecture": to_builtins(self.architecture), "label_rule": rule}
        weights = {name: value.contiguous() for name, value in self.state_dict().items()}
        with atomic_write(save_directory / WEIGHTS_FILE) as partial:
            sealed = save(weights, {SUM_KEY: _weights_sum(weights)})
            partial.write_bytes(sealed)  # save_file makes a file that only its owner can read
        with atomic_write(save_directory / CONFIG_FILE) as partial:
            partial.write_text(json.dumps(seal(config), indent=2) + "\n")

    def save_pretrained(self, save_directory: str | Path, **options: Any) -> str | None:
        """Write the model into a folder, which is made if it is not there.

        Args:
            save_directory: the folder.
            options: the hub's: push_to_hub, repo_id and others.

        Raises:
            AstSegError: there can be no such folder, or it cannot be written.
        """
        folder = as_path("save_directory", save_directory)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AstSegError(f"Cannot write a model to {folder}: {error.strerror}.") from error
        return super().save_pretrained(folder, **options)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Self:
        """Read a saved model, in evaluation mode.

        Args:
            pretrained_model_name_or_path: a folder, or a name on the model hub.
            options: the hub's: revision, cache_dir, force_download, local_files_only, token.

        Raises:
            AstSegError: the folder has no model of this format version, or the model cannot be read.
            TypeError: this is neither a folder nor a name.
        """
        where = pretrained_model_name_or_path
        if not isinstance(where, str | Path):
            raise wrong_argument("from_pretrained takes a folder, or a name on the model hub", where)
        config = _find(where, CONFIG_FILE, options)
        architecture, rule = _read_config(config)

        with _building(config):
            shapes = shapes_of(cls, architecture)
        weights = _read_weights(_find(where, WEIGHTS_FILE, options), shapes)
        with _building(config):
            model = cls(architecture, rule)
        model.load_state_dict(weights)
        return model.eval()


@contextmanager
def _building(config: Path) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, RuntimeError) as error:
        raise AstSegError(f"{config} describes a model that cannot be built: {error}.") from error


def _find(model: str | Path, name: str, options: Mapping[str, Any]) -> Path:
    """Return a file of a model that is in a folder or on the model hub."""
    return Path(model) / name if Path(model).is_dir() else Path(hf_hub_download(str(model), name, **options))


def _read_config(file: Path) -> tuple[Architecture, LabelRule | None]:
    try:
        stored = read_json(file)
        if not isinstance(stored, dict):
            raise ValueError(f"it holds {type(stored).__name__}, not an object")
        content = unseal(stored)
        version = content["format_version"]
        if version != FORMAT_VERSION:
            raise AstSegError(
                f"{file} has format version {version}; this astseg reads version {FORMAT_VERSION}. "
                "Use the version of astseg that wrote the model."
            )
        rule = content["label_rule"]
        architecture = from_builtins(Architecture, content["architecture"])
        return architecture, None if rule is None else from_builtins(LabelRule, rule)
    except OSError as error:
        raise AstSegError(
            f"Cannot read {file}: {error.strerror}. A model is a folder with {CONFIG_FILE} and {WEIGHTS_FILE}."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AstSegError(f"{file} does not describe an astseg model: {describe_mistake(error)}.") from error


def _read_weights(file: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read the weights of a model whose names and shapes are known, in its own types."""
    try:
        with safe_open(file, "pt") as stored:
            found = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  (it is not a mapping)
            written = (stored.metadata() or {}).get(SUM_KEY)
    except Exception as error:  # safetensors raises its own errors as well as OSError
        raise AstSegError(f"Cannot read the weights in {file}: {error}.") from error
    if written is not None and written != _weights_sum(found):
        raise AstSegError(f"The weights in {file} are damaged: their checksum does not match. Get the model again.")
    if misfit := describe_misfit(found, expected):
        raise AstSegError(f"{file} holds the weights of another configuration: {misfit}.")
    weights = {name: value.to(expected[name].dtype) for name, value in found.items()}  # where 1e300 may be infinite
    if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
        raise NonFiniteModelError(
            f"{file} holds weights that are not finite, which find nothing. Its training diverged."
        )
    return weights


def _weights_sum(weights: Mapping[str, Tensor]) -> str:
    """Return the checksum of the names, types, shapes and bytes of tensors."""
    total = 0
    for name, value in sorted(weights.items()):
        total = zlib.crc32(f"{name} {value.dtype} {tuple(value.shape)}".encode(), total)
        total = zlib.crc32(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data, total)
    return f"{total:08x}"
