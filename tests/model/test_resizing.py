import numpy as np
import pytest
import torch
from scipy import ndimage

from astseg.model import resizing
from astseg.model.resizing import enlarged_argmax, moved_and_resized, resized


class TestResized:
    def test_an_image_of_that_size_is_untouched(self) -> None:
        images = torch.rand(1, 3, 5, 7)
        assert resized(images, (5, 7)) is images

    def test_halving_averages(self) -> None:
        """Antialiasing weighs the pixels around each new one: a constant stays, and a fine pattern turns grey."""
        columns = (torch.arange(16) % 2).float().expand(1, 1, 16, 16)
        halved = resized(columns, (8, 8))
        assert halved.shape == (1, 1, 8, 8)
        torch.testing.assert_close(halved[..., 1:-1], torch.full((1, 1, 8, 6), 0.5))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("size", [(3, 4), (20, 9)])
    def test_numbers_of_16_bits(self, dtype: torch.dtype, size: tuple[int, int]) -> None:
        images = torch.rand(2, 3, 8, 7, generator=torch.Generator().manual_seed(0)).to(dtype)
        found = resized(images, size)
        assert found.dtype == dtype
        assert torch.equal(found, resized(images.float(), size).to(dtype))

    def test_growing_keeps_constants(self) -> None:
        torch.testing.assert_close(resized(torch.full((1, 2, 3, 3), 0.25), (7, 9)), torch.full((1, 2, 7, 9), 0.25))


class TestResizedInPlace:
    def test_without_a_displacement_it_is_resized(self) -> None:
        maps = torch.rand(2, 3, 8, 10)
        assert torch.equal(moved_and_resized(maps, (5, 20), 0.0), resized(maps, (5, 20)))

    @pytest.mark.parametrize("displacement", [0.4, -1.3])
    def test_moves_as_scipy_does(self, displacement: float) -> None:
        maps = torch.rand(2, 8, 11, dtype=torch.float64)
        expected = np.stack([ndimage.shift(one, displacement, order=1, mode="nearest") for one in maps.numpy()])
        np.testing.assert_allclose(moved_and_resized(maps[None], (8, 11), displacement)[0], expected, atol=1e-12)

    @pytest.mark.parametrize("size", [(32, 48), (4, 6), (4, 48)])
    def test_what_a_map_is_about_is_found_where_it_lies(self, size: tuple[int, int]) -> None:
        """Cells that hold their own places, displaced, give the places of the cells of any other grid."""
        rows, columns = torch.arange(8) + 0.5 + 0.3, torch.arange(12) + 0.5 + 0.3  # in cells from the border
        places = torch.stack((rows[:, None].expand(8, 12), columns.expand(8, 12)))
        found = moved_and_resized(places[None], size, 0.3)[0]
        down, across = ((torch.arange(count) + 0.5) / count * cells for count, cells in zip(size, (8, 12), strict=True))
        inside = (slice(size[0] // 4, -(size[0] // 4)), slice(size[1] // 4, -(size[1] // 4)))
        expected = torch.stack((down[:, None].expand(size), across.expand(size)))
        torch.testing.assert_close(found[:, *inside], expected[:, *inside])


class TestEnlargedArgmax:
    @pytest.mark.parametrize("size", [(60, 90), (61, 47), (200, 30), (15, 90), (33, 7), (20, 30), (4, 6)])
    @pytest.mark.parametrize("coarseness", [1, 5])
    def test_equals_the_largest_of_the_resized_maps(
        self, size: tuple[int, int], coarseness: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of noise, and of maps whose largest channel is the same in many neighboring cells."""
        maps = torch.rand(4, 20 // coarseness, 30 // coarseness, generator=torch.Generator().manual_seed(0))
        maps = maps.double().repeat_interleave(coarseness, 1).repeat_interleave(coarseness, 2)
        maps += 1e-3 * torch.rand(maps.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        expected = resized(maps[None], size)[0].argmax(0)
        assert (enlarged_argmax(maps, size) == expected).all()
        monkeypatch.setattr(resizing, "MAX_INTERPOLATED_PIXELS", 7)
        assert (enlarged_argmax(maps, size) == expected).all()

    def test_of_equal_channels_the_first_is_taken(self) -> None:
        assert enlarged_argmax(torch.ones(3, 4, 5), (9, 11)).tolist() == [[0] * 11] * 9

    def test_a_single_cell(self) -> None:
        assert enlarged_argmax(torch.tensor([0.0, 1.0])[:, None, None], (2, 3)).tolist() == [[1] * 3] * 2
