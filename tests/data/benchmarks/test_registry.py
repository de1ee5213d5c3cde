import pytest

from astseg._core.errors import AstSegError
from astseg.data.benchmarks.registry import BENCHMARKS, benchmark
from astseg.data.catalog import DATASETS


def test_every_data_set_and_each_form_of_its_files_has_one():
    assert {entry.dataset.name for entry in BENCHMARKS.values()} == set(DATASETS)
    assert BENCHMARKS.keys() - DATASETS.keys() == {"clevr-png"}


def test_an_unknown_protocol():
    with pytest.raises(AstSegError, match=r"no protocol 'cats'. It has: authors, clevrtex, genesis"):
        benchmark("clevr").protocol("cats")


def test_protocols_by_name_and_default():
    assert benchmark("clevr").protocol(None).name == "authors"
    assert benchmark("clevr").protocol("genesis").name == "genesis"
    assert benchmark("clevrtex-ood").protocol(None).name == "all-test"


def test_documented_addresses():
    addresses = [file.address for entry in BENCHMARKS.values() for file in entry.files]
    assert len(addresses) == len(set(addresses))
    assert "https://thor.robots.ox.ac.uk/datasets/clevrtex/clevrtex_full_part5.tar.gz" in addresses
    assert (
        "https://storage.googleapis.com/multi-object-datasets/clevr_with_masks/clevr_with_masks_train.tfrecords"
        in addresses
    )
    assert BENCHMARKS["shapestacks"].files[1].md5_address.endswith("/v1/shapestacks-rgb.md5")
    assert BENCHMARKS["objectsroom"].files[2].name == "objects_room_test_six_objects.tfrecords"
