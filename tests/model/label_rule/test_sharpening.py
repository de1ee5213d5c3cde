import torch

from astseg.model.label_rule.settings import LabelRule
from astseg.model.label_rule.sharpening import sharpen_weights
from astseg.model.resizing import resized

SILENT = LabelRule(neighbor_pull=0.0, histogram_pull=0.0)
"""Nothing else of a rule has a say in larger images."""


class TestSharpenWeights:
    def scene(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return weights of 8 x 8, an image of 32 x 32 and its labels: a disk between whose cells the rim runs."""
        down, right = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
        disk = (down - 14.5).square() + (right - 17.5).square() < 9.3**2
        image = torch.where(
            disk, torch.tensor([0.8, 0.3, 0.2]).view(3, 1, 1), torch.tensor([0.4, 0.5, 0.4]).view(3, 1, 1)
        )
        share = disk.float().reshape(8, 4, 8, 4).mean((1, 3))
        return torch.stack((1 - share, share))[None], image[None], disk[None].long()

    def test_finds_the_rim_between_the_cells(self) -> None:
        weights, image, labels = self.scene()
        enlarged = resized(weights, (32, 32)).argmax(1)
        assert (enlarged != labels).any()
        torch.testing.assert_close(sharpen_weights(weights, image, LabelRule()).argmax(1), labels)

    def test_weights_sum_to_one(self) -> None:
        weights, image, _ = self.scene()
        torch.testing.assert_close(sharpen_weights(weights, image, LabelRule()).sum(1), torch.ones(1, 32, 32))

    def test_without_pulls_weights_are_enlarged(self) -> None:
        weights, image, _ = self.scene()
        expected = resized(weights, (32, 32)).clamp(min=1e-3)
        torch.testing.assert_close(sharpen_weights(weights, image, SILENT), expected / expected.sum(1, keepdim=True))

    def test_weights_are_never_made_coarser(self) -> None:
        """Those of a model that is larger than what is sharpened at most."""
        weights = torch.zeros(1, 2, 368, 368)
        weights[:, 0] = 1
        weights[0, :, :, 100] = torch.tensor([0.0, 1.0])[:, None]
        image = torch.full((1, 3, 370, 370), 0.5)
        found = sharpen_weights(weights, image, SILENT)
        assert found.shape[2] >= 368
        assert (found.argmax(1).sum(2) > 0).all()
