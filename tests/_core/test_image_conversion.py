from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from astseg._core.errors import AstSegError
from astseg._core.image_conversion import ImageInput, from_uint8_images, to_float_images, to_uint8_images

BYTES = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
FLOATS = torch.from_numpy(BYTES.copy()).permute(0, 3, 1, 2) / 255


def test_conversion_to_floats_and_back_keeps_every_byte() -> None:
    images = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    floats = from_uint8_images(images, "cpu")
    assert floats.shape == (1, 3, 16, 16)
    assert (float(floats.min()), float(floats.max())) == (0, 1)
    np.testing.assert_array_equal(to_uint8_images(floats), images)


def test_values_outside_are_clipped() -> None:
    outside = torch.tensor([-0.5, 1.5]).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    assert to_uint8_images(outside).reshape(2, 3).tolist() == [[0, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize(
    "images",
    [
        FLOATS,
        torch.from_numpy(BYTES.copy()).permute(0, 3, 1, 2),
        BYTES,
        BYTES.astype(np.float64) / 255,
        list(BYTES),
        [FLOATS[0], Image.fromarray(BYTES[1])],
    ],
)
def test_several_images_in_any_form(images: ImageInput) -> None:
    found, single = to_float_images(images)
    torch.testing.assert_close(found, FLOATS)
    assert not single


@pytest.mark.parametrize("image", [FLOATS[0], BYTES[0], Image.fromarray(BYTES[0]), "path", Path("path")])
def test_a_single_image_in_any_form(image: ImageInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(BYTES[0]).save("path", format="PNG")
    found, single = to_float_images(image)
    torch.testing.assert_close(found, FLOATS[:1])
    assert single


def test_grey_images_have_three_equal_channels() -> None:
    grey = BYTES[0, ..., 0]
    for image in (grey, grey / 255, Image.fromarray(grey)):
        found, single = to_float_images(image)
        assert single
        torch.testing.assert_close(found, (torch.from_numpy(grey.copy()) / 255).expand(1, 3, -1, -1))


def test_a_camera_s_rotation_is_applied() -> None:
    image = Image.fromarray(BYTES[0])
    image.getexif()[0x0112] = 6
    torch.testing.assert_close(to_float_images(image)[0][0], FLOATS[0].rot90(-1, (1, 2)))


def test_names_the_pil_image_of_unknown_range(tmp_path: Path) -> None:
    dark = Image.fromarray(np.array([[0, 4000]], np.uint16))
    dark.save(tmp_path / "a.png")
    black = r"would be black: its 16-bit values go up to 4000 of 65535\. .* scale all your images to 16 bits first\.$"
    with pytest.raises(AstSegError, match=rf"^The PIL image of mode I;16 {black}"):
        to_float_images(dark)
    with pytest.raises(AstSegError, match=rf"^Image 1: The PIL image of mode I;16 {black}"):
        to_float_images([Image.fromarray(BYTES[0, :1, :2]), dark])
    with (
        Image.open(tmp_path / "a.png") as opened,
        pytest.raises(AstSegError, match=rf"The PIL image of mode I;16 from .*a\.png {black}"),
    ):
        to_float_images(opened)
    for numbers in (np.array([[-1, 9]], np.int32), np.array([[0, 255]], np.float32)):
        with pytest.raises(AstSegError, match=r"The PIL image of mode [IF] holds .*they should lie in 0 to .* Scale"):
            to_float_images(Image.fromarray(numbers))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (Image.new("RGB", (0, 5)), r"with pixels, not uint8 of shape \(5, 0, 3\)"),
        ([], "the list is empty"),
        ([BYTES[0], BYTES[1, :3]], "5 x 7 .* 3 x 7"),
        ([BYTES[0], BYTES], r"image 1: .* single .* \(2, 5, 7, 3\)"),
        ([BYTES[0], 3], "image 1: .* int"),
        ([BYTES[0], 2.0 * BYTES[1]], "image 1: .*values"),
        (BYTES.transpose(0, 3, 1, 2), "Channels come last"),
        (BYTES[..., :2], r"not uint8 of shape \(2, 5, 7, 2\)$"),
        (np.repeat(BYTES[..., :1], 4, -1), r"fourth channel, the transparency: \[..., :3\]$"),
        (FLOATS[:, [0, 1, 2, 0]], r"fourth channel, the transparency: \[..., :3, :, :\]$"),
        (BYTES.astype(np.int64), "not int64 .* Divide whole numbers by the largest that there can be$"),
        (FLOATS.short(), "not torch.int16 .* Divide whole numbers by the largest that there can be$"),
        (BYTES.astype(complex), r"not complex128 of shape \(2, 5, 7, 3\)$"),
        (BYTES.astype(np.float32), r"from 0 to 2\d\d. Divide them by 255, or give bytes$"),
        (300 * FLOATS, r"from \S+ to \S+$"),
        (torch.from_numpy(BYTES.copy()), "not torch.uint8 .* Channels come first"),
        (FLOATS[0, 0], r"not torch.float32 of shape \(5, 7\)$"),
        (BYTES[:0], r"with pixels, not uint8 of shape \(0, 5, 7, 3\)"),
        (BYTES[0, :0], r"with pixels, not uint8 of shape \(0, 7, 3\)"),
        (BYTES[:0] / 255, r"with pixels, not float64 of shape \(0, 5, 7, 3\)"),
        (FLOATS[:0], r"with pixels, not torch.float32 of shape \(0, 3, 5, 7\)"),
        (torch.zeros(3, 5, 0, dtype=torch.uint8), r"with pixels, not torch.uint8 of shape \(3, 5, 0\)"),
        (torch.where(FLOATS > 0.5, torch.nan, FLOATS), "a value is NaN"),
        (None, "not NoneType"),
        (b"", "not bytes"),
    ],
)
def test_refuses_other_images(images: Any, message: str, unchecked_shapes: None) -> None:
    with pytest.raises(ValueError, match=message):
        to_float_images(images)


@pytest.mark.parametrize(
    "images",
    [
        FLOATS.to_sparse(),
        FLOATS.to("meta"),
        FLOATS.to(torch.float8_e4m3fn),
        FLOATS + 0j,
        (255 * FLOATS).byte().to("meta"),
        torch.nested.nested_tensor([FLOATS[0], FLOATS[1]], layout=torch.jagged),
    ],
    ids=["sparse", "meta", "float8", "complex", "bytes on meta", "nested"],
)
def test_refuses_tensors_that_are_not_computed_with(images: Any, unchecked_shapes: None) -> None:
    with pytest.raises(ValueError, match="expected floating-point images of shape"):
        to_float_images(images)


def test_pil_images_that_cannot_be_read(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[:-900])
    with (
        Image.open(tmp_path / "a.png") as cut,
        pytest.raises(AstSegError, match=r"^The PIL image of mode RGB from .*a\.png cannot be read: .*truncated"),
    ):
        to_float_images(cut)
    closed = Image.fromarray(BYTES[0])
    closed.close()
    with pytest.raises(AstSegError, match=r"^Image 0: The PIL image of mode RGB cannot be read: .*closed"):
        to_float_images([closed])
    with pytest.raises(AstSegError, match="mode La cannot be read"):
        to_float_images(Image.new("La", (3, 3)))
    with pytest.raises(ValueError, match="expected images with pixels"):
        to_float_images(Image.new("RGB", (0, 0)))


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_a_matrix_is_a_grey_image() -> None:
    found, _ = to_float_images(np.asmatrix(np.eye(4)))
    torch.testing.assert_close(found, torch.eye(4).expand(1, 3, 4, 4))


def test_images_may_need_a_gradient() -> None:
    assert to_float_images(FLOATS.clone().requires_grad_())[0].requires_grad


def test_names_the_file_that_cannot_be_read(tmp_path: Path) -> None:
    Image.fromarray(BYTES[0]).save(tmp_path / "a.png")
    with pytest.raises(AstSegError, match=r"Image 1: There is no image .*b\.png"):
        to_float_images([tmp_path / "a.png", tmp_path / "b.png"])
