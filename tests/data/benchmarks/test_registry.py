import pytest

from astseg.data.benchmarks.registry import BENCHMARKS, benchmark
from astseg.errors import AstSegError


def test_the_papers_sets_and_their_slots():
    slots = {"clevrtex-full": 10, "clevr": 10, "shapestacks": 6, "objects-room": 3}
    assert {name: BENCHMARKS[name].slots for name in slots} == slots
    sizes = {"clevrtex-full": 128, "clevr": 128, "shapestacks": 64, "objects-room": 64}
    assert {name: BENCHMARKS[name].image_size for name in sizes} == sizes


def test_unknown_names():
    with pytest.raises(AstSegError, match=r"no benchmark 'cats'. There are: clevrtex-full,"):
        benchmark("cats")
    with pytest.raises(AstSegError, match=r"no protocol 'cats'. It has: authors, clevrtex, genesis"):
        benchmark("clevr").protocol("cats")


def test_protocols_by_name_and_default():
    assert benchmark("clevr").protocol(None).name == "authors"
    assert benchmark("clevr").protocol("genesis").name == "genesis"
    assert benchmark("clevrtex-outd").protocol(None).name == "all-test"


def test_documented_addresses():
    addresses = [file.address for entry in BENCHMARKS.values() for file in entry.files]
    assert len(addresses) == len(set(addresses))
    assert "https://thor.robots.ox.ac.uk/datasets/clevrtex/clevrtex_full_part5.tar.gz" in addresses
    assert (
        "https://storage.googleapis.com/multi-object-datasets/clevr_with_masks/clevr_with_masks_train.tfrecords"
        in addresses
    )
    assert BENCHMARKS["shapestacks"].files[1].md5_address.endswith("/v1/shapestacks-rgb.md5")
    assert BENCHMARKS["objects-room"].files[2].name == "objects_room_test_six_objects.tfrecords"
