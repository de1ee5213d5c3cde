from tests.tensors import row_of_owners

from astseg.model.label_rule.slot_masks import pixels_near_objects


def test_pixels_near_objects() -> None:
    near = pixels_near_objects(row_of_owners("0001000020", slots=2))
    assert near.flatten().int().tolist() == [0, 0, 1, 1, 1, 0, 0, 1, 1, 1]
