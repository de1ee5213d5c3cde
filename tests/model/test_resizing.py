import torch

from astseg.model.resizing import resized


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

    def test_growing_keeps_constants(self) -> None:
        torch.testing.assert_close(resized(torch.full((1, 2, 3, 3), 0.25), (7, 9)), torch.full((1, 2, 7, 9), 0.25))
