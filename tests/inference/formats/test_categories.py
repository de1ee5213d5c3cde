import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.cluster import KMeans  # type: ignore[import-untyped]
from tests.inference.formats.conftest import ReadingModel, make_results

from astseg._core.errors import AstSegError
from astseg.data.opening import open_source
from astseg.inference.formats import categories as module
from astseg.inference.formats.categories import find_categories
from astseg.inference.formats.converting import FormatRequest, convert_results
from astseg.inference.formats.results import ObjectRecord, read_results
from astseg.inference.segmenting import segment_source
from astseg.inference.tiles import TiledSegmenter


def test_slots_get_the_names_given_in_the_order_given(results: Path) -> None:
    found = find_categories({3: "bus", 1: "car", 2: "bus"}, read_results(results))
    assert found.names == ("bus", "car", "object")
    named = [found.names[found.category_of(ObjectRecord(slot, 0.0, []))] for slot in (1, 2, 3, 4, 255)]
    assert named == ["car", "bus", "bus", "object", "object"]


def test_no_category_is_left_over_if_all_slots_are_named(results: Path) -> None:
    found = find_categories(dict.fromkeys(range(1, 256), "thing"), read_results(results))
    assert found.names == ("thing",)


@pytest.mark.parametrize("slot", [0, 256])
def test_a_slot_that_the_model_does_not_have(results: Path, slot: int) -> None:
    with pytest.raises(AstSegError, match=f"no slot {slot} to name: the model has slots 1 to 255"):
        convert_results(results, FormatRequest(("coco",), {slot: "car"}))


def test_objects_of_tiles_belong_to_no_slot(tmp_path: Path) -> None:
    Image.fromarray(np.pad(np.full((8, 9, 1), 7, np.uint8), ((12, 12), (4, 4), (0, 2)))).save(tmp_path / "a.png")
    source = open_source(tmp_path / "a.png")
    segment_source(TiledSegmenter(ReadingModel(), 2, 1), source, tmp_path / "results")
    results = tmp_path / "results"
    with pytest.raises(AstSegError, match="joined from tiles belong to no slot"):
        convert_results(results, FormatRequest(("coco",), {1: "car"}))
    convert_results(results, FormatRequest(("cvat",)))
    content = json.loads((results / "cvat/annotations/instances_default.json").read_text())
    assert [found["attributes"] for found in content["annotations"]] == [{"occluded": False}]
    assert "slots" not in json.loads((results / "objects.json").read_text())


def test_what_looks_alike_is_of_one_kind(results: Path) -> None:
    convert_results(results, FormatRequest(("cvat",), 3))
    content = json.loads((results / "cvat/annotations/instances_default.json").read_text())
    assert [category["name"] for category in content["categories"]] == ["kind-1", "kind-2", "kind-3"]
    kinds: dict[int, set[int]] = {}
    for found in content["annotations"]:
        kinds.setdefault(found["category_id"], set()).add(found["attributes"]["slot"] % 3)
    assert sorted(map(sorted, kinds.values())) == [[0], [1], [2]]
    sizes = np.bincount([found["category_id"] for found in content["annotations"]])[1:]
    assert sizes.tolist() == sorted(sizes, reverse=True)


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_the_clusters_are_as_tight_as_those_of_another_program(results: Path, count: int) -> None:
    opened = read_results(results)
    vectors = np.array([found.appearance for record in opened.records() for found in record.objects])
    found = find_categories(count, opened)
    assert isinstance(found, module.AppearanceCategories)
    own = np.min(((vectors[:, None] - found.centers) ** 2).sum(2), 1).sum()
    other = KMeans(count, n_init=20, random_state=0).fit(vectors).inertia_
    assert own <= 1.02 * other
    again = find_categories(count, opened)
    assert isinstance(again, module.AppearanceCategories)
    np.testing.assert_array_equal(again.centers, found.centers)


def test_of_very_many_objects_some_decide(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FITTED_OBJECTS", 40)
    found = find_categories(3, read_results(results))
    kinds = [found.category_of(ObjectRecord(slot, 0.0, [slot / 255, 100.0 * (slot % 3)])) for slot in range(1, 256)]
    assert len({(slot % 3, kind) for slot, kind in enumerate(kinds, 1)}) == 3


def test_too_few_objects_for_the_kinds(tmp_path: Path) -> None:
    results = make_results(tmp_path, {"a.png": np.arange(4, dtype=np.uint8)[None], "b.png": np.ones((1, 9), np.uint8)})
    convert_results(results, FormatRequest(("coco",), 3))
    with pytest.raises(AstSegError, match="holds 3 objects that differ, too few for 4 kinds"):
        convert_results(results, FormatRequest(("coco",), 4))


def test_no_objects_at_all(tmp_path: Path) -> None:
    results = make_results(tmp_path, {"a.png": np.zeros((4, 5), np.uint8)})
    with pytest.raises(AstSegError, match="holds 0 objects that differ"):
        convert_results(results, FormatRequest(("coco",), 2))
