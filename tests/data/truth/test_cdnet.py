"""A sequence in CDnet's form, written here."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from astseg._core.errors import AstSegError
from astseg._core.image_files import Bytes
from astseg.data.truth import CdnetTruth, ImageName, open_truth
from astseg.data.truth.cdnet import find_cdnet


def codes_of_frame() -> Bytes:
    """Two things, of which the corners touch, another, its border, a shadow, and what is outside."""
    codes = np.zeros((20, 30), np.uint8)
    codes[2:6, 3:8] = codes[6:8, 8:12] = 255
    codes[12:16, 10:15] = 170
    codes[13:15, 11:14] = 255
    codes[16:18, 10:15] = 50
    codes[:, 26:] = 85
    return codes


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    folder = tmp_path / "highway"
    (folder / "groundtruth").mkdir(parents=True)
    for number in range(1, 8):
        codes = codes_of_frame() if number > 3 else np.full((20, 30), 85, np.uint8)
        Image.fromarray(codes).save(folder / "groundtruth" / f"gt{number:06d}.png")
    roi = np.full((20, 30), 255, np.uint8)
    roi[:4] = 0
    Image.fromarray(roi).convert("RGB").save(folder / "ROI.bmp")
    (folder / "temporalROI.txt").write_text("3 6\r\n")
    return folder


def test_values_become_regions(sequence: Path) -> None:
    for path in (sequence, sequence / "groundtruth"):
        assert isinstance(open_truth(path, None), CdnetTruth)
    found = CdnetTruth(sequence / "groundtruth").find(ImageName("in000004"))
    assert found is not None
    assert found.unscored is not None
    assert found.shadow is not None
    codes = codes_of_frame()
    outside = np.isin(codes, (85, 170))
    outside[:4] = True
    np.testing.assert_array_equal(found.unscored, outside)
    np.testing.assert_array_equal(found.shadow, codes == 50)
    np.testing.assert_array_equal(found.regions.labels > 0, (codes == 255) & ~outside)
    assert len(found.regions.masks) == 2  # touching by a corner is touching


def test_frames_are_counted_from_one_and_those_of_a_video_from_zero(sequence: Path) -> None:
    truth = CdnetTruth(sequence / "groundtruth")
    numbers = [number for number in range(9) if truth.find(ImageName(f"in{number:06d}")) is not None]
    assert numbers == [4, 5, 6]  # nothing of 3 is scored, and 7 is after the last
    assert [number for number in range(9) if truth.find(ImageName(f"{number:06d}", None, True)) is not None] == [
        3,
        4,
        5,
    ]
    assert truth.find(ImageName("no number")) is None
    (sequence / "temporalROI.txt").unlink()
    assert CdnetTruth(sequence / "groundtruth").find(ImageName("000007")) is not None
    assert CdnetTruth(sequence / "groundtruth").find(ImageName("000008")) is None


def test_the_region_of_interest_need_not_be_there(sequence: Path) -> None:
    (sequence / "ROI.bmp").unlink()
    found = CdnetTruth(sequence / "groundtruth").find(ImageName("000005"))
    assert found is not None
    assert found.regions.labels[2, 3]


def test_other_folders_are_no_sequence(sequence: Path, tmp_path: Path) -> None:
    assert find_cdnet(sequence / "groundtruth") == find_cdnet(sequence) == sequence / "groundtruth"
    assert find_cdnet(tmp_path) is None
    assert find_cdnet(sequence / "ROI.bmp") is None


def test_damaged_sequences(sequence: Path) -> None:
    codes = codes_of_frame()
    codes[0, 0] = 7
    Image.fromarray(codes).save(sequence / "groundtruth/gt000005.png")
    with pytest.raises(AstSegError, match=r"gt000005\.png has a value 7"):
        CdnetTruth(sequence / "groundtruth").find(ImageName("000005"))
    Image.fromarray(codes_of_frame()[:10]).save(sequence / "groundtruth/gt000005.png")
    with pytest.raises(AstSegError, match="region of interest beside it"):
        CdnetTruth(sequence / "groundtruth").find(ImageName("000005"))
    for text in ("470", "a b", "1 2 3"):
        (sequence / "temporalROI.txt").write_text(text)
        with pytest.raises(AstSegError, match=f"should hold two numbers, such as '470 1700', not '{text}'"):
            CdnetTruth(sequence / "groundtruth")
