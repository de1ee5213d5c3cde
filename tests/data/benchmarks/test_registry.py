import pytest

from astseg._core.errors import AstSegError
from astseg.data.benchmarks.registry import BENCHMARKS, get_benchmark
from astseg.data.catalog import DATASETS


def test_every_data_set_and_each_form_of_its_files_has_one() -> None:
    assert {entry.dataset.name for entry in BENCHMARKS.values()} == set(DATASETS)
    assert BENCHMARKS.keys() - DATASETS.keys() == {"clevr-png"}


def test_an_unknown_protocol() -> None:
    with pytest.raises(AstSegError, match="no protocol 'cats'"):
        get_benchmark("clevr").protocol("cats")


def test_protocols_by_name_and_default() -> None:
    assert get_benchmark("clevr").protocol(None).name == "authors"
    assert get_benchmark("clevr").protocol("genesis").name == "genesis"
    assert get_benchmark("clevrtex-ood").protocol(None).name == "all-test"


def test_documented_addresses() -> None:
    addresses = [file.address for entry in BENCHMARKS.values() for file in entry.files]
    assert len(addresses) == len(set(addresses))
    assert "https://thor.robots.ox.ac.uk/datasets/clevrtex/clevrtex_full_part5.tar.gz" in addresses
    assert (
        "https://storage.googleapis.com/multi-object-datasets/clevr_with_masks/clevr_with_masks_train.tfrecords"
        in addresses
    )
    assert (BENCHMARKS["shapestacks"].files[1].md5_address or "").endswith("/v1/shapestacks-rgb.md5")
    assert BENCHMARKS["objectsroom"].files[2].name == "objects_room_test_six_objects.tfrecords"
