import torch

from astseg.model.label_rule.slot_parts import drop_specks, split_parts


class TestSplitParts:
    def weights_of(self, labels: list[list[int]], num_slots: int) -> torch.Tensor:
        """Weights of 0.8 for the owner, the rest shared evenly by the other layers."""
        owners = torch.nn.functional.one_hot(torch.tensor(labels), num_slots + 1).permute(2, 0, 1).float()[None]
        return 0.8 * owners + 0.2 / num_slots * (1 - owners)

    def test_a_part_goes_to_an_unused_slot(self) -> None:
        labels = [[1, 1, 0, 1], [1, 0, 0, 1], [0, 0, 0, 0], [2, 2, 2, 0]]
        found, origins = split_parts(self.weights_of(labels, 3), 2)
        assert found.argmax(1)[0].tolist() == [[1, 1, 0, 3], [1, 0, 0, 3], [0, 0, 0, 0], [2, 2, 2, 0]]
        assert origins.tolist() == [[0, 1, 0]]
        torch.testing.assert_close(found.sum(1), torch.ones(1, 4, 4))

    def test_without_unused_slots_parts_stay(self) -> None:
        labels = [[1, 1, 0, 1], [1, 0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 1]]
        found, origins = split_parts(self.weights_of(labels, 2), 2)
        assert found.argmax(1)[0].tolist() == [[1, 1, 0, 2], [1, 0, 0, 2], [1, 0, 0, 0], [0, 0, 1, 1]]
        assert origins.tolist() == [[0, 0]]

    def test_small_parts_go_to_the_next_layer(self) -> None:
        labels = [[1, 1, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
        found, _ = split_parts(self.weights_of(labels, 3), 3)
        assert found.argmax(1)[0].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]

    def test_corners_touch(self) -> None:
        found, _ = split_parts(self.weights_of([[1, 0, 0], [0, 1, 0], [0, 0, 1]], 2), 1)
        assert found.argmax(1)[0].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]

    def test_nothing_found(self) -> None:
        weights = self.weights_of([[0, 0], [0, 0]], 2)
        found, _ = split_parts(weights, 1)
        assert (found.argmax(1) == 0).all()


class TestDropSpecks:
    def owners(self, labels: list[list[int]], min_pixels: int, second: int = 0) -> list[list[int]]:
        """Drop specks where each pixel's second largest weight is that of one layer."""
        weights = torch.nn.functional.one_hot(torch.tensor(labels), 3).permute(2, 0, 1).float()[None]
        weights[:, [0, second]] += torch.tensor([0.1, 0.5])[:, None, None]
        weights = weights / weights.sum(1, keepdim=True)
        found = drop_specks(weights, min_pixels)
        torch.testing.assert_close(found.sum(1), torch.ones_like(found[:, 0]))
        return found.argmax(1)[0].tolist()

    def test_small_parts_go_to_the_next_layer(self) -> None:
        labels = [[1, 1, 0, 1], [1, 1, 0, 0], [0, 0, 2, 2], [2, 0, 2, 2]]
        assert self.owners(labels, 2) == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 2, 2], [0, 0, 2, 2]]
        assert self.owners(labels, 2, second=2)[0][3] == 2
        assert self.owners(labels, 1) == labels

    def test_the_largest_part_stays(self) -> None:
        labels = [[1, 0, 2, 2], [0, 0, 0, 0], [0, 1, 1, 0]]
        assert self.owners(labels, 9) == [[0, 0, 2, 2], [0, 0, 0, 0], [0, 1, 1, 0]]

    def test_corners_touch(self) -> None:
        labels = [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
        assert self.owners(labels, 2) == labels

    def test_nothing_found(self) -> None:
        assert self.owners([[0, 0]], 3) == [[0, 0]]
