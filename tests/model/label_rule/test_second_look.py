import itertools

import torch
from tests.tensors import random, row_of_owners

from astseg.model.label_rule.second_look import fill_unused_slots


class TestFillUnusedSlots:
    def test_the_largest_go_to_the_first_unused(self) -> None:
        weights, more = row_of_owners("0000022220", slots=3), row_of_owners("3332000011", slots=3)
        found, sources = fill_unused_slots(weights, more)
        assert found.argmax(1).flatten().tolist() == [1, 1, 1, 0, 0, 2, 2, 2, 2, 3]
        assert sources.tolist() == [[3 + 2, 1, 3 + 0]]
        torch.testing.assert_close(found.sum(1), torch.ones_like(found.sum(1)))

    def test_no_more_than_there_are(self) -> None:
        weights, more = row_of_owners("0110", slots=3), row_of_owners("3000", slots=3)
        found, sources = fill_unused_slots(weights, more)
        assert found.argmax(1).flatten().tolist() == [2, 1, 1, 0]
        assert sources.tolist() == [[0, 3 + 2, 2]]

    def test_without_unused_slots_nothing_changes(self) -> None:
        weights, more = row_of_owners("01200", slots=2), row_of_owners("20001", slots=2)
        found, sources = fill_unused_slots(weights, more)
        assert (found == weights).all()
        assert sources.tolist() == [[0, 1]]

    def test_only_the_backgrounds_share_is_divided(self) -> None:
        weights, more = random(2, 4, 3, 5).softmax(1), random(2, 4, 3, 5, seed=1).softmax(1)
        weights[:, 2:] *= 1e-3
        weights = weights / weights.sum(1, keepdim=True)  # slots 2 and 3 own nothing
        found, sources = fill_unused_slots(weights, more)
        torch.testing.assert_close(found.sum(1), torch.ones_like(found.sum(1)))
        torch.testing.assert_close(found[:, 1], weights[:, 1])
        for index, (slot, place) in itertools.product(range(2), enumerate(sources[0].tolist(), 1)):
            place = int(sources[index, slot - 1])
            if place >= 3:
                added = weights[index, 0] * more[index, 1 + place - 3]
                torch.testing.assert_close(found[index, slot], weights[index, slot] + added)
        assert (sources >= 3).any()
