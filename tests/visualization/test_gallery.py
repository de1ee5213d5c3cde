from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from astseg.model.architecture import Architecture
from astseg.model.ast_seg import AstSeg
from astseg.model.backgrounds.static import StaticBackground
from astseg.visualization import gallery
from astseg.visualization.colors import label_colors
from astseg.visualization.gallery import VisualizationSample

SLOTS = 3


class HalvesModel(AstSeg):
    """Slot 2 takes the left half of every image and paints it white; the others own nothing."""

    image_size = (8, 8)

    def __init__(self, paints_background: bool = True) -> None:
        nn.Module.__init__(self)
        self.nothing = nn.Parameter(torch.zeros(()))
        self.background = StaticBackground((32, 32)) if paints_background else None

    def segment_with_rendering(
        self, images: Tensor, *, use_label_rule: bool = True, paint_background: bool = True
    ) -> Any:
        assert use_label_rule
        assert paint_background == (self.background is not None)
        labels = torch.zeros(len(images), *images.shape[-2:], dtype=torch.long)
        labels[:, :, : labels.shape[-1] // 2] = 2
        weights = torch.zeros(len(images), SLOTS + 1, 8, 8)
        weights[:, 2, :, :4] = 1
        weights[:, 0, :, 4:] = 1
        layers = torch.ones(len(images), SLOTS, 3, 8, 8)
        background = torch.full((len(images), 3, 8, 8), 0.2)
        image = weights[:, :1] * background + (weights[:, 1:, None] * layers).sum(1)
        rendering = SimpleNamespace(image=image, weights=weights, layers=layers, background=background)
        return SimpleNamespace(labels=labels), rendering


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def truths() -> np.ndarray:
    truths = np.zeros((2, 8, 8), np.uint8)
    truths[:, :, :4] = 1
    return truths


class TestSample:
    def test_holds_what_the_model_paints(self, images: np.ndarray, truths: np.ndarray) -> None:
        found = gallery.sample(HalvesModel(), images, truths)[1]
        np.testing.assert_array_equal(found.image, images[1])
        np.testing.assert_array_equal(found.truth, truths[1])
        np.testing.assert_array_equal(np.unique(found.labels[:, :4]), [2])
        assert found.reconstruction is not None
        assert found.background is not None
        assert found.slots is not None
        assert (found.reconstruction[:, :4] == 255).all()
        assert (found.background == 51).all()
        assert found.slots.shape == (SLOTS, 8, 8, 3)
        assert (found.slots[1, :, :4] == 255).all()
        assert (found.slots[1, :, 4:] == 128).all()  # no weight: neutral gray
        assert (found.slots[[0, 2]] == 128).all()

    def test_another_size(self) -> None:
        (found,) = gallery.sample(HalvesModel(), np.zeros((1, 12, 20, 3), np.uint8))
        assert found.reconstruction is not None
        assert found.slots is not None
        assert found.truth is None
        assert found.reconstruction.shape == (12, 20, 3)
        assert found.slots.shape == (SLOTS, 12, 20, 3)

    def test_a_model_that_cannot_paint_a_background(self, images: np.ndarray) -> None:
        found = gallery.sample(HalvesModel(paints_background=False), images)
        assert [panel.title for panel in gallery.panels(found[0])] == ["Input", "Segmentation"]

    def test_the_real_model(self) -> None:
        torch.manual_seed(0)
        model = AstSeg(Architecture((32, 32), num_slots=2, feature_network="segformer-b0", background_network="simple"))
        image = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
        assert len(gallery.panels(gallery.sample(model, image)[0])) == 4 + 2


class TestPanels:
    def test_order_and_fading(self, images: np.ndarray, truths: np.ndarray) -> None:
        row = gallery.panels(gallery.sample(HalvesModel(), images, truths)[0])
        assert [panel.title for panel in row] == [
            "Input",
            "Truth",
            "Reconstruction",
            "Segmentation",
            "Background",
            "Slot 1",
            "Slot 2",
            "Slot 3",
        ]
        assert [panel.title for panel in row if panel.faded] == ["Slot 1", "Slot 3"]
        assert all(panel.image.shape == (160, 160, 3) for panel in row)

    def test_an_owned_region_is_outlined_in_the_slots_color(self, images: np.ndarray) -> None:
        row = gallery.panels(gallery.sample(HalvesModel(), images)[0])
        slot = next(panel.image for panel in row if panel.title == "Slot 2")
        np.testing.assert_array_equal(slot[80, 79], label_colors(2)[2])
        assert (slot[80, 40] == 255).all()
        assert (slot[80, 120] == 128).all()

    def test_only_labels_are_in_color(self, images: np.ndarray, truths: np.ndarray) -> None:
        row = {panel.title: panel.image for panel in gallery.panels(gallery.sample(HalvesModel(), images, truths)[0])}
        for title in ("Truth", "Segmentation"):
            objects, ground = row[title][:, :80], row[title][:, 80:]
            assert (ground == ground[..., :1]).all()
            assert (objects != objects[..., :1]).any()
        np.testing.assert_array_equal(row["Truth"], row["Segmentation"])  # one object, one color

    def test_large_images_stay_as_they_are(self) -> None:
        image = np.zeros((300, 200, 3), np.uint8)
        assert gallery.panels(VisualizationSample(image, image[..., 0]))[0].image.shape == (300, 200, 3)


class TestRenumberLikeSlots:
    def test_matched_objects_take_their_slots_number(self) -> None:
        truth = np.array([[1, 1, 1, 2, 2, 3, 0]])
        labels = np.array([[7, 7, 4, 4, 4, 0, 0]])
        # Object 3 has no slot: it gets the lowest unused number.
        np.testing.assert_array_equal(gallery.renumber_like_slots(truth, labels), [[7, 7, 7, 4, 4, 1, 0]])

    def test_more_objects_than_numbers(self) -> None:
        truth = np.arange(1, 256)[None]
        labels = np.zeros((1, 255), int)
        labels[0, -1] = 255
        found = gallery.renumber_like_slots(np.concatenate([truth, truth]), np.concatenate([labels, 0 * labels + 254]))
        assert found.shape == (2, 255)

    def test_nothing_found_and_nothing_there(self) -> None:
        nothing = np.zeros((2, 2), int)
        np.testing.assert_array_equal(gallery.renumber_like_slots(np.eye(2, dtype=int), nothing), np.eye(2))
        np.testing.assert_array_equal(gallery.renumber_like_slots(nothing, np.eye(2, dtype=int)), nothing)


class TestDrawSamples:
    def test_every_image_is_in_its_place(self, images: np.ndarray, truths: np.ndarray) -> None:
        samples = gallery.sample(HalvesModel(), images, truths)
        grid = np.asarray(gallery.draw_samples(samples))
        assert grid.shape == (30 + 2 * 168, 8 + 8 * 168, 3)
        bottom = grid[30 + 168 : 30 + 168 + 160]
        np.testing.assert_array_equal(bottom[:, 8:168], gallery.enlarge(images[1], 20))
        assert (bottom[:, 8 + 6 * 168 :][:160, :70] > 250).all()  # slot 2 is white on the left
        assert (bottom[:, 8 + 5 * 168 :][:160, :160] > 200).all()  # slot 1 owns nothing and is dimmed

    def test_columns_must_agree(self, images: np.ndarray, truths: np.ndarray) -> None:
        known, unknown = gallery.sample(HalvesModel(), images, truths)[0], gallery.sample(HalvesModel(), images)[1]
        with pytest.raises(ValueError, match="same panels"):
            gallery.draw_samples([known, unknown])

    def test_nothing_to_draw(self) -> None:
        with pytest.raises(ValueError, match="needs samples"):
            gallery.draw_samples([])


class TestDrawPairs:
    def test_places_and_colors(self, images: np.ndarray) -> None:
        labels = np.full((8, 8), 2, np.uint8)
        grid = np.asarray(gallery.draw_pairs({"": [(images[0], labels)] * 3}, pairs_per_row=2))
        assert grid.shape == (8 + 2 * 168, 8 + 2 * 328, 3)
        np.testing.assert_array_equal(grid[176:336, 8:168], gallery.enlarge(images[0], 20))
        assert (grid[176:336, 168:328] == label_colors(2)[2]).all()
        assert (grid[176:336, 336:] == gallery.PAGE_COLOR).all()  # the last row is not full

    def test_headings_make_room_for_themselves(self, images: np.ndarray) -> None:
        pair = (images[0], np.zeros((8, 8), np.uint8))
        plain = gallery.draw_pairs({"": [pair]})
        headed = gallery.draw_pairs({"CLEVR": [pair], "nothing": [], "OOD": [pair]})
        assert headed.height == 2 * (plain.height + gallery.HEADING_SIZE + gallery.GAP)

    def test_nothing_to_draw(self) -> None:
        with pytest.raises(ValueError, match="at least one pair"):
            gallery.draw_pairs({"CLEVR": []})
