from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage
from tests.data.films import plain_images, write_film
from torch import Tensor

from astseg._core.errors import AstSegError
from astseg.data.opening import open_source
from astseg.data.sources import Source
from astseg.data.store import MAX_LABELS
from astseg.inference.tiles import MAX_BATCH_TILES, TiledSegmenter, check_sizes, tile_stretches
from astseg.model.segmentation import Segmentation

SLOTS = 80


class Islands:
    """Labels the islands of red pixels, which it knows by their number in green and blue."""

    num_slots = SLOTS

    def segment(self, images: Tensor) -> Segmentation:
        labels, positions, scales, activations, appearances = [], [], [], [], []
        for image in images:
            names = (image[1] * 255).round().long() + 256 * (image[2] * 255).round().long()
            found, count = ndimage.label(image[0].numpy() > 0.5, np.ones((3, 3)))
            assert count <= SLOTS
            labels.append(torch.from_numpy(found.astype(np.int64)))
            height, width = image.shape[1:]
            boxes = ndimage.find_objects(found) + [(slice(0, 0), slice(0, 0))] * (SLOTS - count)
            ends = torch.tensor([[across.start, across.stop, down.start, down.stop] for down, across in boxes]).float()
            positions.append(torch.stack((ends[:, :2].sum(1) / width - 1, ends[:, 2:].sum(1) / height - 1), 1))
            scales.append(torch.stack(((ends[:, 1] - ends[:, 0]) / width, (ends[:, 3] - ends[:, 2]) / height), 1))
            owner = [int(names[found == label].max()) if label <= count else 0 for label in range(1, SLOTS + 1)]
            activations.append(torch.tensor(owner).float())
            appearances.append(torch.tensor(owner).float()[:, None].expand(-1, 3))
        return Segmentation(*(torch.stack(part) for part in (labels, positions, scales, activations, appearances)))


def draw(boxes: list[tuple[int, int, int, int]], height: int, width: int) -> Tensor:
    """Draw red rectangles (top, left, height, width) whose number is in green and blue."""
    image = torch.zeros(1, 3, height, width)
    for number, (top, left, tall, wide) in enumerate(boxes, 1):
        color = torch.tensor([1.0, number % 256 / 255, number // 256 / 255]).view(3, 1, 1)
        image[0, :, top : top + tall, left : left + wide] = color
    return image


class TestTileStretches:
    @given(st.integers(1, 300), st.integers(1, 12))
    def test_cores_cover_every_pixel_once(self, size: int, count: int) -> None:
        stretches = tile_stretches(size, count)
        assert stretches[0].start == stretches[0].core_start == 0
        assert stretches[-1].stop == stretches[-1].core_stop == size
        assert len({stretch.stop - stretch.start for stretch in stretches}) == 1
        for one, following in pairwise(stretches):
            assert one.core_stop == following.core_start
            assert following.start <= one.core_stop <= one.stop

    @given(st.integers(100, 4_000), st.integers(2, 8))
    def test_neighbors_share_a_quarter(self, size: int, count: int) -> None:
        for one, following in pairwise(tile_stretches(size, count)):
            assert one.stop - following.start == pytest.approx((one.stop - one.start) / 4, abs=2)

    @pytest.mark.parametrize(("size", "made"), [(1, 1), (3, 1), (16, 1), (48, 3), (80, 5), (400, 5)])
    def test_none_is_smaller_than_sixteen_pixels(self, size: int, made: int) -> None:
        stretches = tile_stretches(size, 5)
        assert len(stretches) == made
        assert stretches[0].stop >= min(size, 16)


class TestTiledSegmenter:
    @settings(deadline=None, max_examples=30)
    @given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 4))
    def test_objects_are_whole_whatever_the_tiles(self, seed: int, rows: int, columns: int) -> None:
        """Held against the islands of the whole image."""
        rng = np.random.default_rng(seed)
        boxes = [
            (10 * int(down) + 1, 10 * int(across) + 1, int(rng.integers(4, 9)), int(rng.integers(4, 9)))
            for down, across in zip(*np.nonzero(rng.random((8, 10)) < 0.4), strict=True)
        ]
        image = draw(boxes, 80, 100)
        found = TiledSegmenter(Islands(), rows, columns).segment(image)
        expected = np.zeros((80, 100), np.int64)
        for number, (top, left, tall, wide) in enumerate(boxes, 1):
            expected[top : top + tall, left : left + wide] = number
        labels = found.labels[0].numpy()
        assert ((labels > 0) == (expected > 0)).all()
        pairs = {(int(one), int(other)) for one, other in zip(labels.flat, expected.flat, strict=True) if one}
        assert len(pairs) == len(boxes) == labels.max()
        for label, number in pairs:
            assert found.appearances[0, label - 1].tolist() == [number] * 3
            assert found.activations[0, label - 1].item() == number

    def test_positions_and_scales_are_those_in_the_image(self) -> None:
        image = draw([(2, 70, 6, 10)], 40, 100)
        found = TiledSegmenter(Islands(), 2, 3).segment(image)
        torch.testing.assert_close(found.positions[0], torch.tensor([[2 * 75 / 100 - 1, 2 * 5 / 40 - 1]]))
        torch.testing.assert_close(found.scales[0], torch.tensor([[0.1, 0.15]]))

    def test_a_long_object_goes_through_all_tiles(self) -> None:
        image = draw([(10, 3, 4, 190), (20, 3, 4, 90)], 30, 200)
        labels = TiledSegmenter(Islands(), 1, 5).segment(image).labels[0]
        assert {*labels[11, 3:193].tolist()} == {1}
        assert {*labels[21, 3:93].tolist()} == {2}
        assert labels.max() == 2

    def test_images_of_a_batch_stay_apart(self) -> None:
        images = torch.cat((draw([(2, 2, 5, 5), (20, 20, 5, 5)], 40, 40), draw([], 40, 40)))
        found = TiledSegmenter(Islands(), 2, 2).segment(images)
        assert found.labels.amax((1, 2)).tolist() == [2, 0]
        assert found.positions.shape == (2, 2, 2)
        assert not found.activations[1].any()

    def test_many_small_tiles_do_not_go_through_the_model_together(self) -> None:
        class Counting(Islands):
            together = 0

            def segment(self, images: Tensor) -> Segmentation:
                self.together = max(self.together, len(images))
                return super().segment(images)

        model = Counting()
        assert TiledSegmenter(model, 5, 5).segment(draw([(2, 2, 3, 3)], 80, 80)).labels.max() == 1
        assert model.together == MAX_BATCH_TILES

    @pytest.mark.parametrize(
        ("rows", "columns", "proposed"), [(1000, 1000, "5x6"), (6, 2, "5x2"), (1, 7, "1x6"), (5, 6, None)]
    )
    def test_tiles_that_are_too_small_are_refused(self, rows: int, columns: int, proposed: str | None) -> None:
        image = draw([], 80, 100)
        if proposed is None:
            TiledSegmenter(Islands(), rows, columns).segment(image)
            return
        with pytest.raises(AstSegError, match=rf"of 80x100 pixels .* below 16 pixels: ask for {proposed} at most"):
            TiledSegmenter(Islands(), rows, columns).segment(image)

    def test_a_small_image_after_a_large_one_has_fewer_tiles(self) -> None:
        tiled = TiledSegmenter(Islands(), 2, 2)
        tiled.segment(draw([], 80, 80))
        assert tiled.segment(draw([(1, 1, 4, 4)], 20, 90)).labels.max() == 1
        TiledSegmenter(Islands(), 1, 1).segment(draw([], 1, 1))

    def test_a_small_image_may_come_first(self) -> None:
        tiled = TiledSegmenter(Islands(), 2, 2, may_begin_small=True)
        assert tiled.segment(draw([(1, 1, 4, 4)], 20, 90)).labels.max() == 1
        tiled.segment(draw([], 80, 80))

    def test_nothing_found(self) -> None:
        found = TiledSegmenter(Islands(), 2, 2).segment(draw([], 40, 40))
        assert not found.labels.any()
        assert found.positions.shape == (1, 0, 2)
        assert found.masks.shape == (1, 0, 40, 40)

    def test_of_too_many_objects_the_largest_stay(self) -> None:
        boxes = [
            (10 * down + 1, 10 * across + 1, 6, 6 if (down, across) != (7, 9) else 2)
            for down in range(16)
            for across in range(16)
        ]
        labels = TiledSegmenter(Islands(), 4, 4).segment(draw(boxes, 160, 160)).labels[0]
        assert labels.max() == MAX_LABELS == len(boxes) - 1
        assert not labels[71:77, 91:93].any()

    def test_an_object_seen_by_one_tile_alone_is_cut_at_its_core(self) -> None:
        """What the other tile of an overlap does not find, or finds as something else, is not joined."""

        class Once(Islands):
            def segment(self, images: Tensor) -> Segmentation:
                found = super().segment(images)
                found.labels[1:] = 0
                return found

        image = draw([(10, 10, 10, 80)], 30, 100)
        labels = TiledSegmenter(Once(), 1, 2).segment(image).labels[0]
        assert labels[15].nonzero().flatten().tolist() == list(range(10, 50))

    @pytest.mark.parametrize(("rows", "columns"), [(0, 1), (1, 0)])
    def test_refuses_no_tiles(self, rows: int, columns: int) -> None:
        with pytest.raises(ValueError, match="at least one row and one column"):
            TiledSegmenter(Islands(), rows, columns)


class TestCheckSizes:
    @staticmethod
    def save(folder: Path, *sizes: tuple[int, int]) -> Source:
        folder.mkdir(exist_ok=True)
        for index, (height, width) in enumerate(sizes):
            Image.new("RGB", (width, height)).save(folder / f"{index}.png")
        return open_source(folder)

    def test_one_image_that_is_large_enough_is(self, tmp_path: Path) -> None:
        source = self.save(tmp_path / "some", (20, 90), (90, 20), (48, 64), (20, 20))
        check_sizes(source, 3, 4)
        with pytest.raises(AstSegError, match=r"4x4 tiles of an image of 48x64 pixels .* ask for 3x4 at most"):
            check_sizes(source, 4, 4)

    def test_only_the_first_frame_of_a_film_is_looked_at(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_film(tmp_path / "a.avi", plain_images([0] * 9))
        source = open_source(tmp_path / "a.avi")
        looks = iter(source)
        monkeypatch.setattr(type(source), "__iter__", lambda _: looks)
        with pytest.raises(AstSegError, match="of 48x64 pixels"):
            check_sizes(source, 4, 4)
        assert next(looks).name == "000001"
