import copy
import functools
import re
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from astseg._core.errors import AstSegError
from astseg.authors import convert_authors_checkpoint, import_authors_checkpoint
from astseg.authors.importing import _adapt_architecture, _match_weights
from astseg.authors.names import published_names
from astseg.hub.loading import load_model
from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.attention import gather_queries, spatial_softmax
from astseg.training.presets import PRESETS

Save = Callable[..., Path]
Content = dict[str, dict[str, torch.Tensor]]
Rename = Callable[[str], str | None]
FEATURES = "feature_and_attention_map_generator."


def random_images(size: tuple[int, int], count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(5))


def small(preset: str, size: tuple[int, int] = (64, 64)) -> Architecture:
    """A preset's architecture with SegFormer-B0 in place of B3, and for images of another size."""
    shape = PRESETS[preset].recipe.architecture
    if shape.feature_network == "segformer-b3":
        shape = replace(shape, feature_network="segformer-b0")
    return replace(shape, image_size=size, glimpse_channels=())


def renamed(content: Content, rename: Rename) -> Content:
    """The state dicts with other names; weights without a new name are left out."""
    return {
        section: {new: value for name, value in state.items() if (new := rename(name)) is not None}
        for section, state in content.items()
    }


def assert_same(model: AstSeg, original: Any, backgrounds: torch.Tensor) -> None:
    """Latents, weights, labels and images agree."""
    images = random_images(original.size, len(backgrounds))
    queries = original.encoder(images).transpose(0, 1)
    latents = model.encode(images)
    scales = original.scales
    torch.testing.assert_close(latents.positions, queries[..., :2].clamp(-1, 1), rtol=0, atol=1e-5)
    torch.testing.assert_close(latents.appearances, queries[..., 3 + scales :], rtol=0, atol=1e-5)
    torch.testing.assert_close(latents.log_activations, queries[..., 4], rtol=0, atol=1e-5)
    # Where glimpses move, a rounding error of float32 grows by the glimpse's pixels per pixel of the image, in
    # either program. Double precision tells whether they compute the same.
    original.to(torch.float64)
    model = copy.deepcopy(model).double()
    _, expected, weights = original.reconstruct(images.double(), backgrounds.double())
    original.to(torch.float32)
    rendering = model.reconstruct(images.double()) if model.background else model(images.double(), backgrounds.double())
    torch.testing.assert_close(rendering.weights, weights, rtol=0, atol=1e-5)
    torch.testing.assert_close(rendering.image, expected, rtol=0, atol=1e-5)
    labels = model.segment(images.double()).labels
    assert torch.equal(labels, weights.argmax(1))
    assert labels.min() < labels.max()  # a comparison of background with background would show nothing


def assert_same_background(model: AstSeg, original: Any, count: int = 2) -> torch.Tensor:
    images = random_images(original.size, count)
    expected: torch.Tensor = original.paint_background(images)
    assert expected[:, :3].std() > 0.1
    assert model.background is not None
    painted = model.background(images)
    torch.testing.assert_close(torch.cat((painted.image, painted.error), 1), expected, rtol=0, atol=5e-6)
    return expected[:, :3]


@pytest.fixture(scope="module")
def rooms(original: type) -> Any:
    return original()


@pytest.fixture
def content(rooms: Any) -> Content:
    """The content of one checkpoint, which a test may change."""
    return {name: dict(part) for name, part in rooms.content().items() if name.startswith(("encoder", "generator"))}


FILM = {"size": (200, 320), "per_pixel": True, "maximum": 40.0}
CLEVR = {"size": (128, 128), "k": 10, "scales": 1}
CLEVRTEX = {"size": (128, 128), "k": 10}
SHAPESTACKS = {"k": 6, "scales": 1}


@torch.no_grad()
@pytest.mark.parametrize(
    ("preset", "settings"),
    [
        ("natural-video", {**FILM, "small": False, "k": 16, "z": 24, "background": "simple"}),
        ("natural-video-unet", {**FILM, "unet": True, "k": 24, "z": 16, "background": "complex"}),
        ("clevr", {**CLEVR, "small": False, "background": "simple"}),
        ("clevrtex-unet", {**CLEVRTEX, "unet": True}),
        ("objectsroom-no-transformer", {"small": False, "transformer": False, "background": "complex"}),
        ("shapestacks-unet", {**SHAPESTACKS, "unet": True}),
    ],
)
def test_a_model_of_true_size_computes_what_the_original_computes(
    original: type, saved: Save, preset: str, settings: dict[str, Any]
) -> None:
    source = original(**settings)
    conversion = convert_authors_checkpoint(saved(source.content()), preset)
    model = conversion.model
    assert not model.training
    assert (model.num_slots, model.architecture.latents.appearance_dim) == (source.k, source.z)
    assert model.architecture.latents.activation_from_appearance == (source.scales == 1)
    assert model.architecture.background_network == source.background
    assert any("z_what's first" in note for note in conversion.notes) == (source.scales == 1)
    assert any("optimizer_state_dict" in note for note in conversion.notes)
    backgrounds = assert_same_background(model, source, 1) if source.background else random_images(source.size, 1)
    assert_same(model, source, backgrounds)


@torch.no_grad()
@pytest.mark.parametrize("complexity", ["simple", "complex"])
@pytest.mark.parametrize(
    ("size", "preset"),
    [
        ((64, 64), "shapestacks"),
        ((128, 128), "clevr"),
        ((200, 320), "natural-video"),
        ((401, 231), "natural-video-unet"),
    ],
)
def test_a_background_computes_what_the_original_computes(
    original: type, saved: Save, size: tuple[int, int], preset: str, complexity: str
) -> None:
    source = original(size=size, background=complexity)
    states = (source.background_encoder.state_dict(), source.background_generator.state_dict())
    sections = ("encoder_state_dict", "generator_state_dict")
    if complexity == "complex":  # as a joint checkpoint names them
        sections = ("background_encoder_state_dict", "background_generator_state_dict")
    path = saved({**dict(zip(sections, states, strict=True)), "complexity": complexity == "complex"})
    conversion = convert_authors_checkpoint(path, preset)
    model = conversion.model
    assert (model.image_size, model.architecture.background_network) == (size, complexity)
    assert any("untrained" in note for note in conversion.notes)
    assert_same_background(model, source, 1)


@torch.no_grad()
@pytest.mark.parametrize(
    ("preset", "settings"),
    [
        ("shapestacks", {**SHAPESTACKS, "size": (96, 96)}),
        ("natural-video", {"size": (50, 64), "z": 16, "k": 4, "per_pixel": True, "maximum": 40.0}),
        ("natural-video-unet", {"size": (66, 203), "z": 20, "k": 5, "per_pixel": True, "maximum": 40.0, "unet": True}),
        ("objectsroom-no-transformer", {"transformer": False, "size": (33, 47)}),
    ],
)
def test_a_model_of_another_size_is_read_by_its_architecture(
    original: type, saved: Save, preset: str, settings: dict[str, Any]
) -> None:
    source = original(**settings)
    model = import_authors_checkpoint(saved(source.content()), small(preset, source.size))
    assert_same(model, source, random_images(source.size))


@torch.no_grad()
def test_an_imported_model_is_saved_like_any_other(original: type, saved: Save, tmp_path: Path) -> None:
    source = original(background="simple")
    model = import_authors_checkpoint(saved(source.content()), small("objectsroom"))
    model.save_pretrained(tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert asdict(again.architecture) == asdict(model.architecture)
    images = random_images(source.size)
    assert torch.equal(again.reconstruct(images).image, model.reconstruct(images).image)


def test_what_varies_between_checkpoints_of_a_preset_is_said(original: type, saved: Save) -> None:
    film = {"size": (240, 64), "per_pixel": True, "maximum": 40.0}
    source = original(**film, k=16, z=24, background="complex")
    notes = convert_authors_checkpoint(saved(source.content()), small("natural-video", (200, 320))).notes
    read = [note.removeprefix("Read from the checkpoint: ") for note in notes if "Read from" in note]
    assert read == [
        "K is 16, not 20.",
        "the dimension of z_what is 24, not 20.",
        "the image size is 240x64, not 200x320.",
        "the background network is complex, not simple.",
    ]
    usual = convert_authors_checkpoint(saved(original().content()), small("objectsroom"))
    assert not any("Read from" in note for note in usual.notes)


@pytest.mark.parametrize(
    ("settings", "preset", "difference"),
    [
        ({}, "objectsroom-isotropic", "anisotropic scaling, not isotropic scaling"),
        ({}, "objectsroom-unet", "SegFormer, not a U-net of 5 levels"),
        ({"unet": True}, "natural-video-unet", "a U-net of 5 levels, not a U-net of 6 levels"),
        ({"unet": True}, "objectsroom", "a U-net of 5 levels, not SegFormer"),
        ({}, "objectsroom-no-transformer", "a transformer, not no transformer"),
        ({"transformer": False}, "objectsroom", "no transformer, not a transformer"),
        ({"transformer": False}, "clevrtex-no-transformer", "38 channels .*, not 45 channels"),
        ({}, "clevrtex", "glimpses of 32 pixels, not glimpses of 64 pixels"),
        ({}, "natural-video", "one background activation, not an activation for each pixel"),
        ({"background": "simple"}, "clevrtex", "a background of 6 levels, not a background of 7 levels"),
    ],
)
def test_a_wrong_preset_is_told_by_what_differs(
    original: type, saved: Save, settings: dict[str, Any], preset: str, difference: str
) -> None:
    path = saved(original(**settings).content())
    described = small(preset, PRESETS[preset].recipe.architecture.image_size)
    with pytest.raises(AstSegError, match=rf"it has [^.]*{difference}"):
        import_authors_checkpoint(path, described)


SIMILAR_ROWS = ["", "-isotropic", "-no-transformer", "-one-more-slot", "-unet"]


def test_no_preset_reads_a_checkpoint_as_something_else() -> None:
    names = [*(f"objectsroom{row}" for row in SIMILAR_ROWS), "shapestacks-no-transformer"]
    names += ["natural-video", "natural-video-unet"]
    shapes = [PRESETS[name].recipe.architecture for name in names]

    @functools.cache
    def model(shape: Architecture) -> AstSeg:
        with torch.device("meta"):
            return AstSeg(shape)

    own = [model(shape).state_dict() for shape in shapes]
    files = [{theirs: state[ours] for theirs, ours in published_names(state).items()} for state in own]
    read = 0
    for shape, file in zip(shapes, files, strict=True):
        for other in shapes:
            found = _adapt_architecture(other, file)
            try:
                _match_weights(model(found), file, "")
            except AstSegError:
                assert other is not shape
            else:
                assert found == _adapt_architecture(shape, file)
                read += 1
    assert read == len(names) + 2  # K is read from the file: one slot more is no other model


def test_a_preset_that_the_authors_did_not_train(saved: Save, content: Content) -> None:
    with pytest.raises(AstSegError, match="preset demo"):
        import_authors_checkpoint(saved(content), "demo")
    with pytest.raises(AstSegError, match="no preset 'clever'"):
        import_authors_checkpoint(saved(content), "clever")


def test_sizes_that_no_model_has(saved: Save, content: Content) -> None:
    kernel = torch.zeros(20, 256, 1, 1)
    content["encoder_state_dict"][f"{FEATURES}complete_model.decode_head.classifier.weight"] = kernel
    with pytest.raises(AstSegError, match="between 1 and 254, not -15"):
        import_authors_checkpoint(saved(content), small("objectsroom"))


def test_a_frozen_background_joins_its_foreground(original: type, saved: Save) -> None:
    source = original(size=(32, 32), background="simple")
    content = source.content()
    names = {
        "encoder_state_dict": "background_encoder_state_dict",
        "generator_state_dict": "background_generator_state_dict",
    }
    alone = saved({name: content[joint] for name, joint in names.items()}, "background.pth")
    foreground = saved({name: content[name] for name in names}, "foreground.pth")
    both = saved(content, "both.pth")
    shape = small("objectsroom", source.size)
    conversion = convert_authors_checkpoint(foreground, shape)
    assert conversion.model.background is None
    assert any("no background" in note for note in conversion.notes)
    with torch.no_grad():
        images = random_images(source.size)
        joined = import_authors_checkpoint(foreground, shape, background=alone).reconstruct(images)
        assert torch.equal(joined.image, import_authors_checkpoint(both, shape).reconstruct(images).image)
    with pytest.raises(AstSegError, match="a background of its own"):
        import_authors_checkpoint(both, shape, background=alone)
    with pytest.raises(AstSegError, match="no weights"):
        import_authors_checkpoint(foreground, shape, background=saved({"encoder_state_dict": {}}, "empty.pth"))
    with pytest.raises(AstSegError, match="not the checkpoint of a background alone"):
        import_authors_checkpoint(foreground, shape, background=foreground)


def test_the_transformer_that_was_never_trained_is_left_out(original: type, saved: Save, rooms: Any) -> None:
    plain = original(transformer=False)
    content = plain.content()
    layers = torch.nn.TransformerEncoder(
        torch.nn.TransformerEncoderLayer(256, 8, 512), 6, enable_nested_tensor=False
    ).state_dict()
    unused = {f"transformer.{name}": value for name, value in layers.items()}
    unused |= {f"feature_vector_embedding.{n}": v for n, v in torch.nn.Linear(37, 256).state_dict().items()}
    unused |= {f"latents_projection.{n}": v for n, v in torch.nn.Linear(256, 37).state_dict().items()}
    path = saved({**content, "encoder_state_dict": {**content["encoder_state_dict"], **unused}})
    conversion = convert_authors_checkpoint(path, small("objectsroom-no-transformer"))
    assert any("never trained" in note for note in conversion.notes)
    with torch.no_grad():
        assert_same(conversion.model, plain, random_images(plain.size))
    with pytest.raises(AstSegError, match="a transformer, not no transformer"):
        import_authors_checkpoint(saved(rooms.content()), small("objectsroom-no-transformer"))


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: f"module.{name}",
        lambda name: f"_orig_mod.{name}",
        lambda name: None if name.endswith("num_batches_tracked") else name,
        lambda name: None if name in ("position_map", "background_mask", "background_mask_logit") else name,
    ],
)
def test_variants_that_compute_the_same(saved: Save, content: Content, rename: Rename) -> None:
    images = random_images((64, 64))
    variant = saved(renamed(content, rename), "variant.pth")
    with torch.no_grad():
        expected = import_authors_checkpoint(saved(content), small("objectsroom")).segment(images)
        found = import_authors_checkpoint(variant, small("objectsroom")).segment(images)
    assert torch.equal(found.labels, expected.labels)
    assert torch.equal(found.positions, expected.positions)


def test_numbers_of_numpy_beside_the_weights(saved: Save, content: Content, tmp_path: Path) -> None:
    noted = {"loss": np.float64(0.1), "step": np.int64(3), "best": np.float32(2), "done": np.bool_(True)}
    path = saved({**content, "trainer_state_dict": noted})
    # Older versions of numpy, and so older checkpoints, have another name for the function.
    old = tmp_path / "old.pth"
    with zipfile.ZipFile(path) as file, zipfile.ZipFile(old, "w") as other:
        for name in file.namelist():
            other.writestr(name, file.read(name).replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n"))
    for each in (path, old):
        notes = convert_authors_checkpoint(each, small("objectsroom")).notes
        assert any("trainer_state_dict" in note for note in notes)


def test_the_first_names_of_segformer_are_read(saved: Save, content: Content, rooms: Any, tmp_path: Path) -> None:
    network = rooms.encoder.feature_and_attention_map_generator.complete_model
    network.save_pretrained(tmp_path / "segformer")  # transformers writes the names of the hub's files
    first = load_file(tmp_path / "segformer" / "model.safetensors")
    assert "segformer.encoder.block.0.0.attention.self.query.weight" in first
    states = renamed(content, lambda name: None if "complete_model" in name else name)
    states["encoder_state_dict"] |= {f"{FEATURES}complete_model.{name}": value for name, value in first.items()}
    model = import_authors_checkpoint(saved(states), small("objectsroom"))
    with torch.no_grad():
        images = random_images((64, 64))
        maps = network(images).logits
        found = model.feature_maps(images)
        torch.testing.assert_close(found, maps, rtol=0, atol=1e-5)  # sums are in another order
        positions = gather_queries(spatial_softmax(maps[:, :3]), maps[:, 3:]).positions
    assert positions.isfinite().all()


def test_layers_may_be_numbered_or_named_otherwise(original: type, saved: Save) -> None:
    source = original(unet=True, size=(32, 32), k=6)
    shape = small("objectsroom-unet", source.size)
    content = source.content()
    states = {name: content[name] for name in ("encoder_state_dict", "generator_state_dict")}

    def other_names(name: str) -> str:
        name = re.sub(r"(downsample_blocks\.\d+\.bloc1)\.0\.", r"\1.conv.", name)
        name = re.sub(r"(downsample_blocks\.\d+\.bloc1)\.1\.", r"\1.batch_norm.", name)
        name = re.sub(r"(upsample_blocks\.\d+\.bloc1)\.(\d)\.", r"\1.block.\2.", name)
        name = re.sub(r"glimpse_generator\.(\d+)\.", lambda m: f"glimpse_generator.{int(m[1]) + 1}.", name)
        return name.replace("center_block.1.", "center_block.2.").replace("conv1x1.", "conv1x1.0.")

    path = saved(renamed(states, other_names))
    with torch.no_grad():
        assert_same(import_authors_checkpoint(path, shape), source, random_images(source.size))
    # A normalization before its convolution is another computation.
    swapped = renamed(states, lambda name: re.sub(r"(center_block\.)([01])", lambda m: f"{m[1]}{1 - int(m[2])}", name))
    with pytest.raises(AstSegError, match=r"Missing: .*center_block\.0\.weight.*Left over: .*center_block\.1\.weight"):
        import_authors_checkpoint(saved(swapped), shape)
    biased = {**content["encoder_state_dict"], f"{FEATURES}last_residual_layer.bias": torch.zeros(41)}
    with pytest.raises(AstSegError, match=r"Left over: \S+last_residual_layer\.bias"):
        import_authors_checkpoint(saved({**content, "encoder_state_dict": biased}), shape)


def test_what_does_not_fit_is_listed(saved: Save, content: Content) -> None:
    encoder, generator = content["encoder_state_dict"], content["generator_state_dict"]
    del encoder["transformer.layers.5.norm2.weight"], generator["background_activation_logit"]
    encoder["transformer.norm.weight"] = torch.ones(256)
    generator["glimpse_generator.3.weight"] = torch.zeros(64, 32, 3, 3)
    with pytest.raises(AstSegError) as caught:
        import_authors_checkpoint(saved(content), small("objectsroom"))
    message = str(caught.value)
    assert "Missing: background_activation_logit, transformer.layers.5.norm2.weight." in message
    assert "Left over: transformer.norm.weight." in message
    assert "Of another shape: glimpse_generator.3.weight (64x32x3x3, expected 64x32x4x4)." in message


def test_a_long_list_is_cut(saved: Save, content: Content) -> None:
    cut = renamed(content, lambda name: None if name.startswith("transformer.") else name)
    with pytest.raises(AstSegError, match=r"Missing: .* and 52 more\."):
        import_authors_checkpoint(saved(cut), small("objectsroom"))


@pytest.mark.parametrize(
    "decisive", ["glimpse_generator.0.weight", f"{FEATURES}complete_model.decode_head.classifier.weight"]
)
def test_a_weight_that_shows_a_size_is_missed_by_name(saved: Save, content: Content, decisive: str) -> None:
    cut = renamed(content, lambda name: None if name == decisive else name)
    with pytest.raises(AstSegError, match=re.escape(decisive)):
        import_authors_checkpoint(saved(cut), small("objectsroom"))


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"model": {}, "epoch": 3}, "found model, epoch"),
        ([1], "found list"),
        ({"encoder_state_dict": {"position_map": 3}}, "names and tensors"),
        ({"encoder_state_dict": {}, "trainer_state_dict": Path("/tmp")}, "an object of pathlib"),
        ({"encoder_state_dict": {"x": torch.ones(1), "module.x": torch.ones(1)}}, "two tensors called x"),
        ({"encoder_state_dict": {"x": torch.ones(1)}}, "Left over: x"),
        (
            {"encoder_state_dict": {}, "generator_state_dict": {}},
            "no weights: encoder_state_dict, generator_state_dict",
        ),
        ({"encoder_state_dict": None}, "holds no weights"),
        ({"encoder_state_dict": {"x": torch.tensor([1, torch.nan])}}, "not finite: x"),
        ({"encoder_state_dict": {"x": torch.tensor([1e300], dtype=torch.float64)}}, "not finite: x"),
        ({"encoder_state_dict": {"x": torch.tensor([1 + 1j])}}, "not finite: x"),
        ({"encoder_state_dict": {"x": torch.zeros(2, device="meta")}}, "not finite: x"),
    ],
)
def test_files_of_another_kind(saved: Save, stored: object, message: str) -> None:
    with pytest.raises(AstSegError, match=message):
        import_authors_checkpoint(saved(stored), "objectsroom")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("weights")
    for name, message in (("nothing.pth", "No such file"), ("text.pth", "damaged")):
        with pytest.raises(AstSegError, match=message):
            import_authors_checkpoint(tmp_path / name, "objectsroom")
