from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from astseg._core.errors import AstSegError
from astseg.authors import import_authors_checkpoint
from astseg.authors.constants import position_map
from astseg.model.architecture import Architecture
from astseg.training.presets import PRESETS

SMALL = replace(PRESETS["objectsroom"].recipe.architecture, feature_network="segformer-b0", image_size=(32, 32))


def test_position_map_is_equations_12_and_13() -> None:
    found = position_map(Architecture(image_size=(12, 17), num_slots=1))
    assert found.shape == (1, 2, 3, 5)  # a quarter, rounded up
    assert found[0, 0, 1].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert found[0, 1, :, 4].tolist() == [-1, 0, 1]
    assert position_map(Architecture(image_size=(32, 48), num_slots=1, feature_network="unet")).shape[-2:] == (32, 48)


def change(content: dict[str, Any], name: str, value: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, Any]:
    return {
        section: {key: value(tensor) if key == name else tensor for key, tensor in state.items()}
        for section, state in content.items()
        if section.endswith(("encoder_state_dict", "generator_state_dict"))
    }


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("position_map", lambda v: v.flip(1), "position_map holds other values"),
        ("position_map", lambda v: v[..., :7], "position_map has the shape"),
        ("background_mask", lambda v: v / 2, "background_mask holds other values"),
        ("background_encoder.1.positional_encoding", lambda v: v + 0.5, "positional_encoding holds other values"),
        ("background_generator.2.positional_encoding", lambda v: v.flip(1), "positional_encoding holds other values"),
    ],
)
def test_other_constants_are_refused(
    original: type, saved: Callable[..., Path], name: str, value: Callable[[torch.Tensor], torch.Tensor], message: str
) -> None:
    content = original(size=(32, 32), background="simple").content()
    with pytest.raises(AstSegError, match=message):
        import_authors_checkpoint(saved(change(content, name, value)), SMALL)


def test_the_mask_logit_says_nothing(original: type, saved: Callable[..., Path]) -> None:
    content = original(size=(32, 32)).content()
    model = import_authors_checkpoint(saved(content), SMALL)
    changed = import_authors_checkpoint(saved(change(content, "background_mask_logit", lambda v: v + 7)), SMALL)
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(changed.segment(images).labels, model.segment(images).labels)
