import json
import threading
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from astseg._core.errors import AstSegError, NonFiniteModelError
from astseg.data.scenes import render
from astseg.hub.loading import load_model
from astseg.model import segmentation
from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.attention import soft_argmax
from astseg.model.label_rule import applying, sharpening
from astseg.model.label_rule.posterior import posterior_weights
from astseg.model.label_rule.settings import LabelRule
from astseg.model.label_rule.sharpening import sharpen_weights
from astseg.model.latents import LatentLayout, ObjectLatents
from astseg.model.rendering import MAX_SHADOW, composite, place_glimpses
from astseg.model.resizing import resized
from astseg.model.segmentation import evaluation_mode
from astseg.model.slow_features.features import SlowFeatureLayout

ARCHITECTURE = Architecture(
    (32, 40),
    3,
    feature_network="compact-unet",
    refinement="none",
    latents=LatentLayout(appearance_dim=6, anisotropic=True, min_inverse_scale=2.0, initial_inverse_scale=4.0),
    glimpse_channels=(8, 8, 8),
    initial_background_log_activation=0.0,
    background_network="region",
)


def build(**changes: Any) -> AstSeg:
    torch.manual_seed(0)
    model = AstSeg(replace(ARCHITECTURE, **changes))
    # Random logits are flat, so that all slots find the middle; sharper ones separate the slots.
    with torch.no_grad():
        model.feature_maps.output_layer.weight.mul_(20)
    return model.eval()


def deepen_shadows(model: AstSeg) -> None:
    """Paint shadows of the largest depth over every glimpse."""
    with torch.no_grad():
        [*model.glimpse_generator.parameters()][-1][4] = 30.0


def random_images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model() -> AstSeg:
    return build()


class TestFlow:
    def test_rendering_is_composed_of_its_parts(self, model: AstSeg) -> None:
        """Algorithm 2 with the paper's own exponentials."""
        found = model.reconstruct(random_images(2, 3, 32, 40))
        latents = found.latents
        for n in range(2):
            activated = [torch.full((32, 40), float(model.background_log_activation.detach().exp()))]
            layers = [found.background[n]]
            for k in range(3):
                glimpse = model.glimpse_generator(latents.appearances[n, k][None])[None]
                where = (latents.positions[n : n + 1, k : k + 1], latents.inverse_scales[n : n + 1, k : k + 1])
                placed = place_glimpses(glimpse, *where, (32, 40))[0, 0]
                torch.testing.assert_close(found.layers[n, k], placed[:3])
                torch.testing.assert_close(found.masks[n, k], placed[3])
                activated.append(latents.log_activations[n, k].exp() * placed[3])
                layers.append(placed[:3])
            weights = torch.stack(activated) / sum(activated)
            torch.testing.assert_close(found.weights[n], weights)
            painted = sum(w * layer for w, layer in zip(weights, layers, strict=True))
            torch.testing.assert_close(found.image[n], painted)

    def test_shadows_are_as_dark_at_any_size(self) -> None:
        """As of a model that learns on a grid, and paints images."""
        model = build(shadows=True, initial_background_log_activation=4.0)
        deepen_shadows(model)
        latents = model.reconstruct(random_images(1, 3, 32, 40)).latents
        with torch.no_grad():
            own, coarse = (model.render(latents, torch.ones(1, 3, *size)).background for size in ((32, 40), (8, 10)))
        assert own.min() < 0.9
        torch.testing.assert_close(F.avg_pool2d(own, 4), coarse, rtol=0, atol=0.1)

    def test_the_background_comes_from_its_network_or_from_outside(self, model: AstSeg) -> None:
        images = random_images(2, 3, 32, 40)
        with torch.no_grad():
            torch.testing.assert_close(model(images).background, model.reconstruct_backgrounds(images))
            given = torch.full_like(images, 0.25)
            assert model(images, given).background is given

    def test_no_background_network(self) -> None:
        model = build(background_network=None)
        images = random_images(1, 3, 32, 40)
        with pytest.raises(ValueError, match="no background network"):
            model(images)
        with torch.no_grad():
            assert model(images, images).image.shape == images.shape

    def test_reconstruction_needs_no_gradients_and_leaves_the_mode(self) -> None:
        model = build().train()
        found = model.reconstruct(random_images(2, 3, 32, 40))
        assert not found.image.requires_grad
        assert model.training
        again = model.reconstruct(random_images(2, 3, 32, 40))
        assert (again.image == found.image).all(), "evaluation mode changes no statistics"

    def test_the_published_start_shows_background(self) -> None:
        model = AstSeg(replace(ARCHITECTURE, initial_background_log_activation=11))
        assert model.background_log_activation.item() == 11
        assert model.reconstruct(random_images(1, 3, 32, 40)).weights[:, 0].min() > 0.99

    def test_activation_of_the_background_by_pixel(self) -> None:
        model = build(per_pixel_background_activation=True)
        activations, images = model.pixel_log_activation, random_images(1, 3, 32, 40)
        assert activations is not None
        assert activations.shape == (32, 40)
        torch.testing.assert_close(model.reconstruct(images).weights, build().reconstruct(images).weights)
        with torch.no_grad():
            activations[3, 5] = -30.0
            activations[4, 5] = 30.0
            latents = model.encode(images)
            wide = latents._replace(inverse_scales=torch.full((1, 3, 2), 0.5))  # all glimpses cover the image
            weights = model.render(wide, images).weights
        assert weights[0, 0, 3, 5] < 1e-6
        assert weights[0, 0, 4, 5] > 1 - 1e-6

    def test_the_corner_convention_scales_positions(self) -> None:
        images = random_images(2, 3, 32, 40)
        published, consistent = (build(corner_convention=name) for name in ("published", "consistent"))
        with torch.no_grad():
            ratio = published.encode(images).positions / consistent.encode(images).positions
        torch.testing.assert_close(ratio, torch.tensor([10 / 9, 8 / 7]).expand(2, 3, 2), rtol=1e-3, atol=1e-3)

    def test_every_parameter_takes_part(self) -> None:
        model = build(per_pixel_background_activation=True, refinement="residual")
        found = model.train()(random_images(2, 3, 32, 40))
        (found.image - random_images(2, 3, 32, 40)).square().sum().backward()
        unused = {name for name, p in model.named_parameters() if p.grad is None}
        assert unused == {"background.error.weight", "background.error.bias"}, "images do not depend on these"

    def test_shadows_fall_on_the_background_alone(self) -> None:
        images = random_images(2, 3, 32, 40)
        model = build(shadows=True, initial_background_log_activation=2.0)
        with torch.no_grad():
            latents = model.encode(images)
            faint = model.render(latents, images)
            deepen_shadows(model)
            deep = model.render(latents, images)
        assert (faint.background < images).any()
        assert (deep.background < 0.5 * images).any()
        assert (deep.background >= (1 - MAX_SHADOW) ** 3 * images - 1e-6).all()
        torch.testing.assert_close(deep.weights, faint.weights)
        torch.testing.assert_close(deep.image, composite(deep.weights, deep.background, deep.layers))

    def test_the_ground_behind_an_object_is_not_shaded(self) -> None:
        model = build(shadows=True, initial_background_log_activation=-30.0)
        deepen_shadows(model)
        found = model.reconstruct(random_images(2, 3, 32, 40))
        hidden = found.weights[:, :1] < 1e-6
        assert hidden.any()
        assert not hidden.all()
        behind = model.reconstruct_backgrounds(random_images(2, 3, 32, 40)).detach()
        torch.testing.assert_close(found.background.where(hidden, 0), behind.where(hidden, 0))

    def test_absent_slots_cast_no_shadow(self) -> None:
        images = random_images(2, 3, 32, 40)
        model = build(shadows=True, initial_background_log_activation=30.0)
        deepen_shadows(model)
        with torch.no_grad():
            rendering = model(images, images)
        assert rendering.weights[:, 0].min() > 0.99
        torch.testing.assert_close(rendering.background, images, atol=1e-6, rtol=0)

    def test_shadows_can_be_left_out(self) -> None:
        images = random_images(2, 3, 32, 40)
        model = build(shadows=True)
        with torch.no_grad():
            assert (model(images, images, shadows=False).background == images).all()
            assert (model(images, images).background != images).any()

    def test_attention_goes_where_the_background_is_wrong(self) -> None:
        model = build(residual_attention_bias=50.0, corner_convention="consistent")
        backgrounds = random_images(2, 3, 32, 40)
        images = backgrounds.clone()
        images[0, :, 4:8, 28:32] = (backgrounds[0, :, 4:8, 28:32] + 0.5) % 1  # one cell of the map, all of it different
        with torch.no_grad():
            found = model.encode(images, backgrounds).positions
            own = build(corner_convention="consistent").encode(images).positions
        torch.testing.assert_close(found[0], torch.tensor([0.5, -0.625]).expand(3, 2), atol=1e-3, rtol=0)
        torch.testing.assert_close(found[1], own[1])  # nothing is unexplained there

    def test_reconstructs_the_backgrounds_that_attention_needs(self) -> None:
        model = build(residual_attention_bias=4.0)
        images = random_images(2, 3, 32, 40)
        with torch.no_grad():
            known = model.encode(images, model.reconstruct_backgrounds(images))
            assert (model.encode(images).positions == known.positions).all()
        found = model.segment(images)
        assert (found.positions == known.positions).all()


class TestSegment:
    @pytest.mark.parametrize("size", [(32, 40), (64, 80), (50, 33), (1, 1), (17, 200)])
    def test_any_size(self, model: AstSeg, size: tuple[int, int]) -> None:
        found = model.segment(random_images(2, 3, *size))
        assert found.labels.shape == (2, *size)
        assert found.labels.dtype == torch.int64
        assert found.masks.shape == (2, 3, *size)
        assert found.masks.dtype == torch.bool
        for values, width in ((found.positions, 2), (found.scales, 2), (found.appearances, 6)):
            assert values.shape == (2, 3, width)
        assert found.activations.shape == (2, 3)

    def test_labels_are_the_largest_weights(self, model: AstSeg) -> None:
        images = random_images(4, 3, 32, 40)
        found = model.segment(images)
        assert {*found.labels.flatten().tolist()} == {0, 1, 2, 3}, "the test needs all labels"
        assert (found.labels == model.reconstruct(images).weights.argmax(1)).all()

    def test_labels_by_a_label_rule(self) -> None:
        images = random_images(4, 3, 32, 40)
        rule = LabelRule(2.0, background_error=5.0, background_margin=0.5)
        model = build()
        model.label_rule = rule
        rendering = model.reconstruct(images)
        found = model.segment(images).labels
        assert (found == posterior_weights(rendering, images, rule).argmax(1)).all()
        by_weights = model.segment(images, use_label_rule=False).labels
        assert (by_weights == rendering.weights.argmax(1)).all()
        assert (found != by_weights).any()

    @pytest.mark.parametrize("limit", [2**17, 2_000])
    def test_larger_images_are_labeled_by_their_own_edges(self, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
        monkeypatch.setattr(sharpening, "MAX_SHARPENED_PIXELS", limit)
        images = random_images(4, 3, 64, 80)
        small = resized(images, (32, 40))
        rule = LabelRule(2.0, background_error=5.0, background_margin=0.5)
        model = build()
        model.label_rule = rule
        weights = posterior_weights(model.reconstruct(small), small, rule)
        for one, image, found in zip(weights, images, model.segment(images).labels, strict=True):
            owners = [layer for layer in range(4) if layer == 0 or (one.argmax(0) == layer).any()]
            sharpened = sharpen_weights(one[owners][None], image[None], rule)
            assert sharpened.shape[2:] == ((64, 80) if limit > 64 * 80 else (40, 50))
            expected = resized(sharpened, (64, 80))[0].argmax(0)
            assert (found == torch.tensor(owners)[expected]).all()
            assert (found != resized(one[None], (64, 80))[0].argmax(0)).any()

    def test_smaller_images_are_labeled_at_the_size_of_the_model(self) -> None:
        images = random_images(4, 3, 16, 20)
        model = build()
        model.label_rule = rule = LabelRule(2.0, background_error=5.0, background_margin=0.5)
        enlarged = resized(images, (32, 40))
        weights = posterior_weights(model.reconstruct(enlarged.clamp(0, 1)), enlarged, rule)
        assert (model.segment(images).labels == resized(weights, (16, 20)).argmax(1)).all()

    def test_before_a_static_background_the_noise_tells_what_is_foreground(self) -> None:
        rule = LabelRule(noise_multiple=7.0, split_parts=True)
        model = AstSeg(replace(ARCHITECTURE, background_network="static"), rule).eval()
        image = torch.full((3, 64, 80), 0.5)  # the background before training
        image[:, 10:30, 10:30] = 0.7
        image[:, 40:60, 44:70] = 0.6
        by_slots = model.segment(image).labels
        model.label_rule = replace(rule, noise_multiple=0.0)
        assert (by_slots == model.segment(image).labels).all()  # the noise has not been measured
        model.label_rule = rule
        assert model.background_noise is not None
        model.background_noise.fill_(0.01)
        labels = model.segment(image).labels
        assert ((labels > 0) != (image[0] != 0.5)).float().mean() < 0.01  # corners are rounded
        first, second = labels[20, 20], labels[50, 50]
        assert (labels[12:28, 12:28] == first).all()
        assert (labels[42:58, 46:68] == second).all()
        assert first != second

    def test_a_half_that_is_unlike_the_other_becomes_an_object(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = build()
        model.label_rule = LabelRule(division_likeness=0.3)
        image = torch.zeros(3, 32, 40)
        image[0, 8:24, 10:20], image[2, 8:24, 20:26] = 0.9, 0.9  # red, blue
        owners = 2 * (image.sum(0) > 0).long()  # both are the second slot's
        weights = torch.nn.functional.one_hot(owners, 4).permute(2, 0, 1).float()[None]
        monkeypatch.setattr(applying, "posterior_weights", lambda *_: weights)
        found = model.segment(image)
        assert (found.labels == torch.where(image[0] == 0.9, 2, torch.where(image[2] == 0.9, 1, 0))).all()
        torch.testing.assert_close(found.positions[0], found.positions[1])
        assert not torch.equal(found.positions[1], found.positions[2])

    def test_noise_that_is_not_known(self) -> None:
        rule = LabelRule(noise_multiple=7.0)
        with pytest.raises(ValueError, match="needs a static background"):
            AstSeg(ARCHITECTURE, rule)
        model = build()
        with pytest.raises(ValueError, match="needs a static background"):
            model.label_rule = rule

    def test_masks_are_the_pixels_of_each_label(self, model: AstSeg) -> None:
        found = model.segment(random_images(4, 3, 45, 64))
        for slot in range(3):
            assert (found.masks[:, slot] == (found.labels == slot + 1)).all()

    def test_units_of_the_latents(self, model: AstSeg) -> None:
        images = random_images(2, 3, 32, 40)
        found = model.segment(images)
        with torch.no_grad():
            latents = model.encode(images)
        assert found.positions.abs().max() <= 1
        torch.testing.assert_close(found.scales * latents.inverse_scales, torch.ones(2, 3, 2))
        torch.testing.assert_close(found.activations.log(), latents.log_activations)
        assert (found.appearances == latents.appearances).all()

    def test_a_single_image_has_no_others(self, model: AstSeg) -> None:
        with pytest.raises(TypeError, match="of a single image"):
            model.segment(random_images(3, 32, 40))[0]

    def test_several_threads_have_it_in_evaluation_mode_to_the_end(self) -> None:
        model, others = build().train(), threading.Barrier(2)
        before = {name: value.clone() for name, value in model.state_dict().items()}

        def first() -> None:
            with segmentation.evaluation_mode(model):
                others.wait()  # for the second to begin
                others.wait()

        thread = threading.Thread(target=first)
        thread.start()
        others.wait()
        with segmentation.evaluation_mode(model):
            others.wait()
            thread.join()
            assert not any(module.training for module in model.modules())
            model.segment(random_images(2, 3, 32, 40))
        assert all(module.training for module in model.modules())
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    @pytest.mark.parametrize("size", [(32, 40), (50, 61)])
    def test_a_single_image_is_a_batch_of_one(self, model: AstSeg, size: tuple[int, int]) -> None:
        image = random_images(3, *size)
        single, batch = model.segment(image), model.segment(image[None])
        for field in fields(single):
            assert (getattr(single, field.name) == getattr(batch, field.name)[0]).all()

    def test_an_image_does_not_depend_on_its_batch(self, model: AstSeg) -> None:
        images = random_images(3, 3, 50, 61)
        together, alone = model.segment(images), model.segment(images[1])
        torch.testing.assert_close(together.positions[1], alone.positions)
        assert (together.labels[1] != alone.labels).float().mean() < 1e-3

    def test_needs_no_background(self, model: AstSeg) -> None:
        bare = build(background_network=None)
        weights = {name: value for name, value in model.state_dict().items() if not name.startswith("background.")}
        bare.load_state_dict(weights)
        images = random_images(2, 3, 32, 40)
        assert (bare.segment(images).labels == model.segment(images).labels).all()

    @pytest.mark.parametrize("training", [True, False])
    def test_leaves_the_mode_and_the_statistics(self, training: bool) -> None:
        model = build().train(training)
        model.feature_maps.train(not training)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        modes = [module.training for module in model.modules()]
        model.segment(random_images(2, 3, 32, 40))
        assert [module.training for module in model.modules()] == modes
        for name, value in model.state_dict().items():
            assert (value == before[name]).all()

    def test_restores_the_mode_after_an_error(self) -> None:
        model = build().train()
        with pytest.raises(KeyError), evaluation_mode(model):
            raise KeyError
        assert model.training

    def test_slight_overshoot_is_accepted(self, model: AstSeg) -> None:
        assert model.segment(torch.tensor([-0.3, 1.3]).repeat(1, 3, 32, 20)).labels.shape == (1, 32, 40)

    @pytest.mark.parametrize(
        "images",
        [torch.zeros(2, 3, 31, 32), torch.zeros(3, 32, 40), torch.zeros(1, 3, 32, 40, dtype=torch.uint8)],
    )
    def test_only_images_of_the_own_size_are_reconstructed(
        self, model: AstSeg, images: Tensor, unchecked_shapes: None
    ) -> None:
        with pytest.raises(ValueError, match="of shape"):
            model.reconstruct(images)

    @pytest.mark.parametrize(
        ("size", "dtype"),
        [((64, 80), torch.float32), ((32, 48), torch.float32), ((16, 20), torch.float32), ((32, 40), torch.uint8)],
    )
    def test_only_images_of_the_own_size_are_encoded(
        self, size: tuple[int, int], dtype: torch.dtype, unchecked_shapes: None
    ) -> None:
        model = AstSeg(Architecture((32, 40), 2, "segformer-b0", "none"))
        for method in (model.encode, model.forward, model.reconstruct_backgrounds):
            with pytest.raises(ValueError, match=r"own size, N x 3 x 32 x 40, not .*; segment takes"):
                method(torch.zeros(1, 3, *size, dtype=dtype))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda images: images.index_fill(3, torch.tensor(7), torch.nan), "a value is NaN"),
            (lambda images: 255 * images, r"a mean of 1\d\d\.\d+\. Divide them by 255"),
            (lambda images: images / 0, "a mean of inf$"),
            (lambda images: images - 2, r"a mean of -1\.\d+$"),
            (lambda images: images.to_sparse(), "a tensor that is nested, sparse"),
        ],
    )
    @pytest.mark.parametrize("method", ["encode", "forward", "attention_maps", "reconstruct_backgrounds"])
    def test_images_of_other_values_are_not_encoded(
        self, model: AstSeg, method: str, change: Callable[[Tensor], Tensor], message: str, unchecked_shapes: None
    ) -> None:
        with pytest.raises(ValueError, match=message):
            getattr(model, method)(change(random_images(2, 3, 32, 40)))

    def test_values_are_not_looked_at_where_there_is_none(self, model: AstSeg, unchecked_shapes: None) -> None:
        images = random_images(3, 2, 3, 32, 40)
        expected = torch.stack([model.encode(some).positions for some in images])
        torch.testing.assert_close(torch.func.vmap(model.encode)(images).positions, expected)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("size", [(32, 40), (20, 25), (96, 80)])
    def test_weights_of_16_bits(self, dtype: torch.dtype, size: tuple[int, int]) -> None:
        model = build()
        model.label_rule = LabelRule()
        model = model.to(dtype)
        assert model.segment(random_images(1, 3, *size)).labels.shape == (1, *size)

    def test_labels_of_16_bits_are_those_of_32_in_large_images(self) -> None:
        images = torch.from_numpy(render("rooms", 3, range(2), 64).images).permute(0, 3, 1, 2).float() / 255
        large = resized(images, (320, 320))
        expected = load_model("rooms").segment(large).labels
        for dtype in (torch.float16, torch.bfloat16):
            found = load_model("rooms").to(dtype).segment(large).labels
            assert (found != expected).double().mean() < 0.03

    def test_labels_that_depend_on_the_background_have_it_painted(self) -> None:
        torch.manual_seed(0)
        layout = SlowFeatureLayout("filters", directions=4)
        model = build(slow_features=layout, background_network="static", shadows=False)
        model.label_rule = LabelRule(noise_multiple=7.0)
        assert model.background_noise is not None
        model.background_noise.fill_(0.02)
        images = random_images(1, 3, 32, 40)
        found, _ = model.segment_with_rendering(images)
        assert (model.segment(images).labels == found.labels).all()

    @pytest.mark.parametrize("name", ["towers", "clevrtex"])
    def test_the_second_look_is_at_the_background_where_objects_were_found(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        images = torch.from_numpy(render(name, 3, range(6), 64).images).permute(0, 3, 1, 2).float() / 255
        model = load_model(name)
        assert model.label_rule is not None
        model.label_rule = replace(model.label_rule, looks=1)
        once = model.segment(images)
        seen: list[tuple[Tensor, ...]] = []
        encode = model.encode

        def record(*given: Tensor) -> ObjectLatents:
            seen.append(given)
            return encode(*given)

        monkeypatch.setattr(model, "encode", record)
        model.label_rule = replace(model.label_rule, looks=2)
        twice = model.segment(images)
        found = once.labels > 0
        assert (twice.labels[found] == once.labels[found]).all()
        used = once.masks.flatten(2).any(2)
        assert (twice.positions[used] == once.positions[used]).all()
        (_, background, _), (again, _, residuals) = seen
        if residuals is None:
            assert (again == torch.where(again == images, images, background)).all()
            assert (again == background).all(1)[found].all()
        else:
            assert (again == images).all()
            assert not residuals.any(1)[found[:, ::2, ::2]].any()  # a cell has 2 x 2 pixels
            assert residuals.any()
            new = twice.masks.flatten(2).any(2) & ~used
            assert new.any()
            assert (twice.positions[new] != once.positions[new]).any(1).all()

    def test_backgrounds_of_another_size(self) -> None:
        model = build(residual_attention_bias=4.0)
        rendering = model(random_images(2, 3, 32, 40), random_images(2, 3, 64, 80))
        assert rendering.image.shape == (2, 3, 64, 80)

    def test_an_activation_for_each_pixel_on_backgrounds_of_another_size(self) -> None:
        model = build(per_pixel_background_activation=True)
        assert model.pixel_log_activation is not None
        with torch.no_grad():
            model.pixel_log_activation[:, :20] = 50.0
            weights = model(random_images(2, 3, 32, 40), random_images(2, 3, 64, 80)).weights[:, 0]
        assert (weights[..., :38] > 0.99).all()
        assert weights[..., 42:].min() < 0.9

    def test_a_size_that_is_a_list(self) -> None:
        size: Any = [32, 40]
        model = AstSeg(replace(ARCHITECTURE, image_size=size))
        assert model.segment(random_images(1, 3, 50, 40)).labels.shape == (1, 50, 40)

    def test_double_precision_images(self, model: AstSeg) -> None:
        images = random_images(2, 3, 32, 40)
        assert (model.segment(images.double()).labels == model.segment(images).labels).all()
        assert torch.equal(model.reconstruct(images.double()).image, model.reconstruct(images).image)

    @pytest.mark.parametrize("method", ["segment", "reconstruct"])
    @pytest.mark.parametrize(
        "images",
        [
            *(torch.zeros(*shape) for shape in ((4, 4), (1, 1, 3, 8, 8), (2, 8, 8, 3), (8, 8, 3), (1, 1, 32, 40))),
            torch.zeros(3, 8, 8, dtype=torch.int64),
            *(torch.tensor([0.5, value]).repeat(1, 3, 32, 20) for value in (-2.1, 2.6, 255.0, torch.nan)),
        ],
    )
    def test_refuses_other_than_images(
        self, model: AstSeg, method: str, images: Tensor, unchecked_shapes: None
    ) -> None:
        with pytest.raises(ValueError, match="expected"):
            getattr(model, method)(images)

    @pytest.mark.parametrize("method", ["encode", "forward", "reconstruct_backgrounds", "attention_maps"])
    @pytest.mark.parametrize(
        "images",
        [
            None,
            np.zeros((1, 3, 32, 40), np.float32),
            torch.zeros(3, 32, 40),
            torch.zeros(0, 3, 32, 40),
            *(torch.zeros(1, 3, 32, 40, dtype=kind) for kind in (torch.float16, torch.float64, torch.uint8)),
            torch.zeros(1, 3, 32, 40, device="meta"),
        ],
    )
    def test_refuses_images_of_another_type_or_device(
        self, model: AstSeg, method: str, images: Any, unchecked_shapes: None
    ) -> None:
        with pytest.raises(ValueError, match="expected floating-point images of the model's own"):
            getattr(model, method)(images)

    @pytest.mark.parametrize("method", ["encode", "forward"])
    @pytest.mark.parametrize(
        "backgrounds", [5, np.zeros((2, 3, 32, 40)), torch.zeros(3, 3, 32, 40), torch.zeros(2, 1, 32, 40)]
    )
    def test_refuses_other_backgrounds(
        self, model: AstSeg, method: str, backgrounds: Any, unchecked_shapes: None
    ) -> None:
        with pytest.raises(ValueError, match="expected backgrounds"):
            getattr(model, method)(random_images(2, 3, 32, 40), backgrounds)

    def test_refuses_what_it_cannot_paint(self, model: AstSeg, unchecked_shapes: None) -> None:
        images = random_images(1, 3, 32, 40)
        with pytest.raises(ValueError, match="expected backgrounds N x 3 x H x W, not NoneType"):
            model.render(model.encode(images), None)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="latents should be an ObjectLatents, not a Tensor"):
            model.render(images, images)  # type: ignore[arg-type]

    def test_there_are_only_so_many_images(self, model: AstSeg) -> None:
        found = model.segment(random_images(2, 3, 32, 40))
        assert torch.equal(found[-1].labels, found.labels[1])
        assert len(list(found)) == 2  # type: ignore[call-overload]
        with pytest.raises(IndexError, match="there are 2 images, numbered from 0, and none is number 5"):
            found[5]

    @pytest.mark.parametrize("architecture", [None, {}, "clevr"])
    def test_is_made_of_an_architecture(self, architecture: Any, unchecked_shapes: None) -> None:
        with pytest.raises(TypeError, match="architecture should be an Architecture, not a"):
            AstSeg(architecture)
        with pytest.raises(TypeError, match="label_rule should be a LabelRule or None, not an int"):
            AstSeg(ARCHITECTURE, 5)  # type: ignore[arg-type]

    def test_bytes_are_scaled(self, model: AstSeg) -> None:
        images = (255 * random_images(2, 3, 32, 40)).round().to(torch.uint8)
        assert (model.segment(images).labels == model.segment(images / 255).labels).all()

    def test_moving_the_image_moves_the_objects(self) -> None:
        """The purpose of the architecture: equivariance, here on an image with an empty border."""
        model = build(corner_convention="consistent", refinement="none")
        # Logits that are high where the image is bright, and features that do not depend on it.
        model.feature_maps = _BrightnessMaps(model.num_slots + ARCHITECTURE.latents.columns)
        images = torch.zeros(1, 3, 32, 40)
        images[..., 8:16, 8:16] = 1
        moved = images.roll((8, 12), (-2, -1))
        difference = model.segment(moved).positions - model.segment(images).positions
        torch.testing.assert_close(difference, torch.tensor([2 * 12 / 40, 2 * 8 / 32]).expand(1, 3, 2))


class _BrightnessMaps(torch.nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, images: Tensor) -> Tensor:
        logits = 100 * torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True), 4)
        return torch.cat((logits.expand(-1, 3, -1, -1), torch.zeros(1, self.channels - 3, *logits.shape[2:])), 1)


class TestSaving:
    def test_round_trip(self, model: AstSeg, tmp_path: Path) -> None:
        model.save_pretrained(tmp_path / "model")
        loaded = AstSeg.from_pretrained(tmp_path / "model")
        assert loaded.architecture == model.architecture
        assert not loaded.training
        for name, value in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], value)
        images = random_images(2, 3, 32, 40)
        assert torch.equal(loaded.reconstruct(images).image, model.reconstruct(images).image)

    def test_a_string_and_memory_format_do_not_matter(self, tmp_path: Path) -> None:
        model = build().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        model.save_pretrained(str(tmp_path / "model"))
        loaded = AstSeg.from_pretrained(str(tmp_path / "model"))
        assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))

    def test_a_file_is_no_place_for_a_model(self, model: AstSeg, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        for place in (tmp_path / "file", tmp_path / "file/model", tmp_path / ("x" * 300)):
            with pytest.raises(AstSegError, match=r"Cannot write a model to .*: "):
                model.save_pretrained(place)
        with pytest.raises(TypeError, match="save_directory should be a path, not a NoneType"):
            model.save_pretrained(None)  # type: ignore[arg-type]

    def test_saves_over_an_older_model(self, model: AstSeg, tmp_path: Path) -> None:
        build(num_slots=2).save_pretrained(tmp_path)
        model.save_pretrained(tmp_path)
        assert AstSeg.from_pretrained(tmp_path).num_slots == 3
        assert sorted(file.name for file in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]

    def test_the_card_says_what_it_is_and_how_to_load_it(self, model: AstSeg, tmp_path: Path) -> None:
        model.save_pretrained(tmp_path)
        head, _, text = (tmp_path / "README.md").read_text().removeprefix("---\n").partition("---\n")
        assert "library_name: astseg" in head
        assert "pipeline_tag: image-segmentation" in head
        assert "astseg.load_model(" in text
        assert "More Information Needed" not in text

    def test_half_precision_weights_are_read(self, model: AstSeg, tmp_path: Path) -> None:
        build().half().save_pretrained(tmp_path)
        loaded = AstSeg.from_pretrained(tmp_path)
        assert loaded.background_log_activation.dtype == torch.float32
        assert loaded.segment(random_images(3, 32, 40)).labels.shape == (32, 40)

    def test_the_label_rule_is_saved_beside_the_architecture(self, tmp_path: Path) -> None:
        AstSeg(ARCHITECTURE, LabelRule(background_error=7.0)).save_pretrained(tmp_path)
        assert AstSeg.from_pretrained(tmp_path).label_rule == LabelRule(background_error=7.0)

    def test_a_label_rule_needs_a_background(self) -> None:
        with pytest.raises(ValueError, match="needs a background network"):
            AstSeg(replace(ARCHITECTURE, background_network=None), LabelRule())

    def test_an_unexpected_bias_of_ae_ne_is_refused(self, tmp_path: Path) -> None:
        model = AstSeg(Architecture((32, 32), 2, "compact-unet", "none", background_network="simple"))
        model.save_pretrained(tmp_path)
        weights = {**load_file(tmp_path / "model.safetensors"), "background.decoder.4.layers.0.bias": torch.zeros(4)}
        save_file(weights, tmp_path / "model.safetensors")
        with pytest.raises(AstSegError, match="0 missing, 1 not expected"):
            AstSeg.from_pretrained(tmp_path)

    @pytest.mark.parametrize(
        ("content", "key_word"),
        [
            ("{", "describe"),
            ("[]", "describe"),
            ("{}", "'format_version'"),
            ('{"format_version": 99}', "version 99"),
            ('{"format_version": 3}', "describe"),
        ],
    )
    def test_broken_configuration(self, model: AstSeg, tmp_path: Path, content: str, key_word: str) -> None:
        model.save_pretrained(tmp_path)
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(AstSegError, match=rf"config\.json.*{key_word}"):
            AstSeg.from_pretrained(tmp_path)

    @pytest.mark.parametrize(
        ("name", "value", "key_word"),
        [
            ("depth", 3, "'depth'"),
            ("num_slots", "three", "num_slots"),
            ("num_slots", 0, "num_slots should be between 1 and 254, not 0"),
            ("feature_network", "vgg", "'vgg'"),
            ("image_size", [16, 16], "cannot be built"),
            ("image_size", [65536, 65536], "another configuration: 0 missing"),
            ("glimpse_channels", [65536, 65536, 65536], "another configuration: 0 missing"),
            ("slow_features", {"surfaces": 17}, "slow_features.surfaces should be between 1 and 16, not 17"),
            ("glimpse_channels", [8, "x"], "glimpse_channels"),
        ],
    )
    def test_impossible_configuration(
        self, model: AstSeg, tmp_path: Path, name: str, value: object, key_word: str
    ) -> None:
        model.save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        config["architecture"][name] = value
        del config["crc32"]
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(AstSegError, match=key_word):
            AstSeg.from_pretrained(tmp_path)

    def test_missing_and_damaged_files(self, model: AstSeg, tmp_path: Path) -> None:
        with pytest.raises(AstSegError, match=r"config\.json"):
            AstSeg.from_pretrained(tmp_path)
        model.save_pretrained(tmp_path)
        file = tmp_path / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(AstSegError, match=r"model\.safetensors"):
            AstSeg.from_pretrained(tmp_path)
        file.unlink()
        with pytest.raises(AstSegError, match=r"model\.safetensors"):
            AstSeg.from_pretrained(tmp_path)

    def test_weights_of_another_configuration(self, model: AstSeg, tmp_path: Path) -> None:
        model.save_pretrained(tmp_path / "one")
        build(num_slots=2, background_network=None, per_pixel_background_activation=True).save_pretrained(
            tmp_path / "two"
        )
        (tmp_path / "one/model.safetensors").rename(tmp_path / "two/model.safetensors")
        with pytest.raises(AstSegError, match=r"1 missing \(pixel_log_activation\), \d+ .* more\), 2 of another"):
            AstSeg.from_pretrained(tmp_path / "two")

    @pytest.mark.parametrize("kind", [torch.complex64, torch.bool, torch.int8, torch.uint64, torch.float8_e4m3fn])
    def test_weights_of_another_type(self, model: AstSeg, tmp_path: Path, kind: torch.dtype) -> None:
        model.save_pretrained(tmp_path)
        weights = load_file(tmp_path / "model.safetensors")
        name = "background_log_activation"
        save_file(weights | {name: weights[name].to(kind)}, tmp_path / "model.safetensors")
        with pytest.raises(
            AstSegError, match=r"0 of another shape, 1 of another type \(background_log_activation\)\.$"
        ):
            AstSeg.from_pretrained(tmp_path)

    def test_counters_stay_whole_numbers(self, model: AstSeg, tmp_path: Path) -> None:
        model.save_pretrained(tmp_path)
        weights = load_file(tmp_path / "model.safetensors")
        name = next(name for name in weights if name.endswith("num_batches_tracked"))
        save_file(weights | {name: weights[name].double()}, tmp_path / "model.safetensors")
        with pytest.raises(AstSegError, match="1 of another type"):
            AstSeg.from_pretrained(tmp_path)

    def test_double_precision_weights_are_read_if_single_precision_holds_them(self, tmp_path: Path) -> None:
        build().double().save_pretrained(tmp_path)
        assert AstSeg.from_pretrained(tmp_path).background_log_activation.dtype == torch.float32
        weights = load_file(tmp_path / "model.safetensors")
        weights["background_log_activation"].fill_(1e300)
        save_file(weights, tmp_path / "model.safetensors")
        with pytest.raises(NonFiniteModelError, match="not finite"):
            AstSeg.from_pretrained(tmp_path)

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
    def test_a_configuration_that_an_editor_has_saved(self, model: AstSeg, tmp_path: Path, encoding: str) -> None:
        model.save_pretrained(tmp_path)
        file = tmp_path / "config.json"
        file.write_text(file.read_text(), encoding=encoding)
        assert AstSeg.from_pretrained(tmp_path).architecture == model.architecture

    def test_neither_a_folder_nor_a_name(self) -> None:
        with pytest.raises(TypeError, match="from_pretrained takes a folder, or a name on the model hub, not a list"):
            AstSeg.from_pretrained(["rooms"])  # type: ignore[arg-type]

    def test_settings_and_weights_have_the_same_permissions(self, model: AstSeg, tmp_path: Path) -> None:
        model.save_pretrained(tmp_path)
        settings, weights = ((tmp_path / name).stat().st_mode for name in ("config.json", "model.safetensors"))
        assert settings == weights

    def test_an_interrupted_write_keeps_the_older_model(self, model: AstSeg, tmp_path: Path) -> None:
        resource = pytest.importorskip("resource")
        model.save_pretrained(tmp_path)
        before = (tmp_path / "model.safetensors").read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
        try:
            with pytest.raises(AstSegError, match="Cannot write"):
                model.save_pretrained(tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert (tmp_path / "model.safetensors").read_bytes() == before


class TestAttentionMaps:
    @pytest.mark.parametrize(
        "changes",
        [{}, {"residual_attention_bias": 4.0, "slot_position_prior": True}, {"corner_convention": "consistent"}],
    )
    def test_their_centers_are_the_positions(self, changes: dict[str, Any]) -> None:
        """Without a refinement, which moves them."""
        model, images = build(**changes), random_images(2, 3, 32, 40)
        maps = model.attention_maps(images)
        assert maps.shape[:2] == (2, 3)
        torch.testing.assert_close(maps.sum((2, 3)), torch.ones(2, 3))
        centers = soft_argmax(maps, model.architecture.corner_convention)
        torch.testing.assert_close(centers, model.reconstruct(images).latents.positions)

    def test_a_rendering_has_them_with_gradients(self) -> None:
        model, images = build(), random_images(2, 3, 32, 40)
        rendering = model(images)
        torch.testing.assert_close(rendering.attention, model.attention_maps(images))
        rendering.attention.square().sum().backward()
        assert any(parameter.grad is not None for parameter in model.feature_maps.parameters())
        assert all(parameter.grad is None for parameter in model.glimpse_generator.parameters())
        assert model.render(rendering.latents, rendering.background).attention is None

    def test_looking_at_a_model_in_training_changes_nothing(self) -> None:
        model, images = build().train(), random_images(2, 3, 32, 40)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        maps = model.attention_maps(images)
        assert not maps.requires_grad
        assert all(module.training for module in model.modules())
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        torch.testing.assert_close(maps, model.eval().attention_maps(images))

    def test_of_slow_features(self) -> None:
        model = load_model("clevrtex")
        maps = model.attention_maps(random_images(1, 3, 64, 64))
        torch.testing.assert_close(maps.sum((2, 3)), torch.ones(1, 10))

    def test_another_size(self, model: AstSeg, unchecked_shapes: None) -> None:
        with pytest.raises(ValueError, match="N x 3 x 32 x 40"):
            model.attention_maps(random_images(1, 3, 40, 32))
