from typing import Any

import pytest
import torch

from astseg.model.attention import ObjectQueries
from astseg.model.latents import LatentLayout, read_latents


def queries(layout: LatentLayout, *, scale: float = 1.0) -> ObjectQueries:
    generator = torch.Generator().manual_seed(0)
    return ObjectQueries(
        2 * torch.randn(2, 3, 2, generator=generator), scale * torch.randn(2, 3, layout.columns, generator=generator)
    )


class TestLayout:
    @pytest.mark.parametrize(
        ("settings", "key_word"),
        [
            ({"appearance_dim": 0}, "appearance"),
            ({"min_inverse_scale": 0.9}, "min_inverse_scale"),
            ({"min_inverse_scale": 24.0}, "min_inverse_scale"),
            ({"initial_inverse_scale": 1.3}, "initial_inverse_scale should be above"),
            ({"initial_inverse_scale": 30.0}, "initial_inverse_scale should be above"),
            ({"activation_from_appearance": True, "anisotropic": True}, "isotropic"),
        ],
    )
    def test_refuses_the_impossible(self, settings: dict[str, Any], key_word: str) -> None:
        with pytest.raises(ValueError, match=key_word):
            LatentLayout(**settings)


class TestReading:
    @pytest.mark.parametrize("anisotropic", [False, True])
    def test_columns(self, anisotropic: bool) -> None:
        layout = LatentLayout(appearance_dim=5, anisotropic=anisotropic)
        found = queries(layout)
        latents = read_latents(found, layout)
        scale, activation, appearance = torch.split(found.features, [2 if anisotropic else 1, 1, 5], -1)
        torch.testing.assert_close(latents.inverse_scales, (1.3 + 22.7 / (1 + torch.exp(-scale))).expand(2, 3, 2))
        torch.testing.assert_close(latents.log_activations, activation[..., 0])
        torch.testing.assert_close(latents.appearances, appearance)

    def test_activation_from_the_first_appearance_value(self) -> None:
        layout = LatentLayout(appearance_dim=5, activation_from_appearance=True)
        found = queries(layout)
        latents = read_latents(found, layout)
        # x, y, scale, activation, z_what: column 4 counted from 0.
        torch.testing.assert_close(latents.log_activations, torch.cat(found, -1)[..., 4])
        assert latents.appearances.shape[-1] == 5

    @pytest.mark.parametrize("anisotropic", [True, False])
    def test_ranges_whatever_the_query(self, anisotropic: bool) -> None:
        layout = LatentLayout(anisotropic=anisotropic, max_inverse_scale=40.0)
        latents = read_latents(queries(layout, scale=100.0), layout)
        assert latents.positions.abs().max() == 1
        assert latents.inverse_scales.min() >= 1.3
        assert latents.inverse_scales.max() <= 40.0 + 1e-5

    def test_positions_inside_are_kept(self) -> None:
        layout = LatentLayout()
        found = queries(layout)
        inside = found.positions.abs() <= 1
        assert inside.any()
        assert not inside.all()
        assert (read_latents(found, layout).positions[inside] == found.positions[inside]).all()

    @pytest.mark.parametrize("initial", [None, 2.5, 5.0, 20.0])
    def test_a_column_of_zero_points_at_the_initial_scale(self, initial: float | None) -> None:
        layout = LatentLayout(min_inverse_scale=2.0, initial_inverse_scale=initial)
        latents = read_latents(ObjectQueries(torch.zeros(1, 1, 2), torch.zeros(1, 1, layout.columns)), layout)
        assert latents.inverse_scales.flatten().tolist() == pytest.approx(2 * [initial or 13.0], rel=1e-6)
