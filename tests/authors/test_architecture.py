from dataclasses import replace

import pytest

from astseg.authors.architecture import background_architecture, background_notes, foreground_architecture
from astseg.authors.shapes import ForegroundShapes
from astseg.errors import UserError
from astseg.model.background import BackgroundLayout, published_layout
from astseg.presets import PRESETS

CLEVRTEX = ForegroundShapes(
    feature_network="segformer-b3",
    channels=45,
    map_size=(32, 32),
    features=35,
    trained_transformer=True,
    appearance=32,
    glimpse_channels=(128, 64, 32, 16, 8),
    picture_size=None,
)
CLEVR = replace(CLEVRTEX, channels=44, features=34)
WITHOUT_TRANSFORMER = replace(CLEVRTEX, features=None, trained_transformer=False)
FILM = replace(
    CLEVRTEX, channels=43, features=27, appearance=24, map_size=(60, 80), picture_size=(240, 320), glimpse_channels=()
)


def test_a_published_model_is_its_preset() -> None:
    for shapes, name, isotropic in ((CLEVRTEX, "clevrtex", False), (CLEVR, "clevr", True)):
        preset = PRESETS[name]
        expected = replace(preset.recipe.architecture, background_network=None)
        latents = replace(expected.latents, activation_from_appearance=isotropic)
        found, notes = foreground_architecture(shapes, preset, None)
        assert found == replace(expected, latents=latents)
        assert len(notes) == isotropic
        alone, _ = foreground_architecture(shapes, None, None)
        assert alone == found


@pytest.mark.parametrize(
    ("shapes", "preset", "message"),
    [
        (CLEVRTEX, "clevr", "anisotropic scaling True, not False"),
        (CLEVRTEX, "clevrtex-unet", "feature network segformer, not unet"),
        (CLEVRTEX, "clevrtex-no-transformer", "refinement transformer, not none"),
        (CLEVRTEX, "objectsroom", "image size 128x128, not 64x64"),
        (CLEVRTEX, "natural-video", "activation per background pixel False, not True"),
        (CLEVRTEX, "demo", "feature network segformer, not compact-unet; "),
        (WITHOUT_TRANSFORMER, "clevrtex", "refinement none, not transformer"),
        (WITHOUT_TRANSFORMER, "clevrtex-one-more-slot", "45 channels .* 11 objects need 46"),
        (replace(CLEVRTEX, channels=35), None, "fit no model: .* slots, not 0"),
        (replace(CLEVRTEX, features=40), "clevrtex", "works on 40 features and z_what has 32"),
        (replace(CLEVRTEX, map_size=None), None, "does not show the size of its pictures"),
    ],
)
def test_another_models_preset_is_refused(shapes: ForegroundShapes, preset: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        foreground_architecture(shapes, PRESETS[preset] if preset else None, None)


def test_what_varies_between_checkpoints_is_read_and_said() -> None:
    shapes = replace(CLEVRTEX, feature_network="segformer-b1", channels=47)
    found, notes = foreground_architecture(shapes, PRESETS["clevrtex"], None)
    assert (found.feature_network, found.slots) == ("segformer-b1", 12)
    assert any("segformer-b1, not segformer-b3; K 12, not 10" in note for note in notes)
    found, notes = foreground_architecture(FILM, PRESETS["natural-video"], None)
    assert (found.slots, found.latents.appearance, found.image_size) == (16, 24, (240, 320))
    assert any("K 16, not 20; dimension of z_what 24, not 20; image size 240x320" in note for note in notes)


def test_natural_video_has_a_range_of_scales_of_its_own() -> None:
    assert foreground_architecture(FILM, None, None).architecture.latents.maximum_inverse_scale == 40
    assert foreground_architecture(CLEVR, None, None).architecture.latents.maximum_inverse_scale == 24


@pytest.mark.parametrize(
    ("map_size", "preset", "background", "expected"),
    [
        ((32, 32), None, None, (128, 128)),
        ((32, 32), None, (127, 128), (127, 128)),
        (None, "clevrtex", None, (128, 128)),
        (None, None, (128, 96), (128, 96)),
    ],
)
def test_the_size_of_the_pictures(
    map_size: tuple[int, int] | None,
    preset: str | None,
    background: tuple[int, int] | None,
    expected: tuple[int, int],
) -> None:
    shapes = replace(CLEVRTEX, map_size=map_size)
    chosen = PRESETS[preset] if preset else None
    assert foreground_architecture(shapes, chosen, background).architecture.image_size == expected


def test_sizes_that_disagree_are_refused() -> None:
    with pytest.raises(UserError, match="different sizes: 128x128; 240x320"):
        foreground_architecture(FILM, None, (128, 128))


def test_the_architecture_around_a_background() -> None:
    layout = replace(published_layout((128, 128), "simple"), largest_value=255.0)
    found, notes = background_architecture((128, 128), "simple", layout, PRESETS["clevr"])
    around = PRESETS["clevr"].recipe.architecture
    assert found == replace(around, background_network="simple", background_layout=layout)
    assert [note for note in notes if "untrained" not in note] == []
    _, (_, other) = background_architecture((128, 128), "simple", layout, PRESETS["clevrtex"])
    assert other == "Read from the checkpoint in place of the preset's: background network simple, not complex."
    wide = published_layout((96, 64), "complex")
    assert background_architecture((96, 64), "complex", wide, None).architecture.image_size == (96, 64)
    with pytest.raises(UserError, match="image size 96x64, not 128x128"):
        background_architecture((96, 64), "complex", wide, PRESETS["clevrtex"])


def test_channels_of_neither_list_are_told() -> None:
    own = BackgroundLayout((3, 8, 8, 8, 8, 16), (4, 8, 8, 8, 8, 16))
    (note,) = background_notes((32, 32), "simple", own, None)
    assert "encoder 3x8x8x8x8x16, decoder 4x8x8x8x8x16" in note
