import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astseg._core import checksums
from astseg._core.checksums import damaged_row, is_intact, read_sums, row_sums, seal, seal_file, unseal


def slow_crc32(content: bytes) -> int:
    """Divide by the polynomial of IEEE 802.3, bit by bit."""
    remainder = 0xFFFFFFFF
    for byte in content:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0xEDB88320 if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF


@pytest.mark.parametrize("dtype", ["u1", "<f2"])
def test_sums_of_rows_are_those_of_their_bytes(dtype: str, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 200, (5, 3, 4)).astype(dtype)
    expected = [slow_crc32(row.tobytes()) for row in rows]
    assert row_sums(rows).tolist() == expected
    assert row_sums(np.asfortranarray(rows)).tolist() == expected
    (tmp_path / "a.crc32").write_bytes(row_sums(rows).tobytes() + b"x")
    assert read_sums(tmp_path / "a.crc32").tolist() == expected
    assert len(row_sums(rows[:0])) == 0


@settings(deadline=None)
@given(st.integers(0, 6 * 35 * 8 - 1))
def test_every_flipped_bit_of_a_small_array_is_found(bit: int) -> None:
    rows = np.random.default_rng(1).integers(0, 256, (6, 5, 7), np.uint8)
    sums = row_sums(rows)
    assert damaged_row(rows, sums) is None
    rows.reshape(-1)[bit // 8] ^= 1 << bit % 8
    assert damaged_row(rows, sums) == bit // 8 // 35


def test_fewer_checksums_than_rows_are_damage() -> None:
    rows = np.zeros((6, 5), np.uint8)
    assert damaged_row(rows, row_sums(rows)[:4]) == 4


def test_of_a_large_array_some_rows_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "WHOLE_BYTES", 100)
    monkeypatch.setattr(checksums, "SAMPLED_ROWS", 3)
    rows = np.zeros((101, 2), np.uint8)
    sums = row_sums(rows)
    found = []
    for row in range(101):
        rows[row] = 1
        found.append(damaged_row(rows, sums))
        rows[row] = 0
    assert [row for row in found if row is not None] == [0, 50, 100]
    assert all(there in (None, row) for row, there in enumerate(found))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(max_size=4), JSON, max_size=3))
def test_what_was_sealed_is_unsealed(content: dict[str, Any]) -> None:
    sealed = json.loads(json.dumps(seal(content)))
    assert unseal(sealed) == content
    assert unseal(content) == content, "as it was never sealed"


def test_keys_become_texts_and_tuples_lists() -> None:
    assert unseal(json.loads(json.dumps(seal({"sizes": {10: (1, 2), 9: ()}})))) == {"sizes": {"10": [1, 2], "9": []}}


@settings(deadline=None)
@given(st.data())
def test_a_flipped_bit_of_a_sealed_object_is_found(data: st.DataObject) -> None:
    content = {"count": 12, "name": "rooms", "share": 0.25, "kinds": ["images", "masks"]}
    text = bytearray(json.dumps(seal(content)).encode())
    bit = data.draw(st.integers(0, 8 * len(text) - 1))
    text[bit // 8] ^= 1 << bit % 8
    try:
        found = unseal(json.loads(text))
    except ValueError:
        return
    # The bit was in the name of the checksum, or in the case of a letter that means the same: nothing else is changed.
    assert {name: value for name, value in found.items() if name in content} == content


def test_every_flipped_bit_of_a_sealed_file_is_found_or_is_in_the_seal(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    file.write_bytes(bytes(range(60)))
    assert is_intact(file) is None
    seal_file(file)
    assert is_intact(file)
    content = file.read_bytes()
    assert content[:60] == bytes(range(60))
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        in_mark = 60 <= bit // 8 < len(content) - 8
        assert is_intact(file) is (None if in_mark else False)
    for length in (0, 5, 60, 70, len(content) - 1):
        file.write_bytes(content[:length])
        assert is_intact(file) is None
