"""Results whose labels are known: images that say in red which label each pixel gets."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from astseg._core.image_files import Bytes
from astseg.data.opening import open_source
from astseg.inference.segmenting import segment_source
from astseg.model.segmentation import Segmentation

SLOTS = 255


class ReadingModel:
    """Labels each pixel by its red value; of each slot, the appearance is its number and the rest of it by 3."""

    num_slots = SLOTS

    def segment(self, images: Tensor) -> Segmentation:
        labels = (255 * images[:, 0]).round().long()
        slots = torch.arange(1, SLOTS + 1)
        count = len(images)
        return Segmentation(
            labels,
            torch.zeros(count, SLOTS, 2),
            torch.ones(count, SLOTS, 2),
            torch.ones(count, SLOTS),
            torch.stack([slots / SLOTS, 100.0 * (slots % 3)], 1).expand(count, SLOTS, 2),
        )


def draw_masks() -> dict[str, Bytes]:
    """Return label images by the path of their image, in the order of the results."""
    random = np.random.default_rng(0)
    holes = np.zeros((30, 41), np.uint8)
    holes[2:28, 3:38] = 1
    holes[6:20, 8:30] = 0
    holes[9:17, 12:25] = 2
    holes[11:14, 15:20] = 1  # an island in the hole of another
    holes[22:25, 5:9] = 0
    parts = np.zeros((40, 33), np.uint8)
    parts[1:6, 1:9] = parts[6:12, 9:15] = parts[30:39, 25:32] = parts[20, 4] = 7
    one = np.zeros((17, 13), np.uint8)
    one[16, 12] = 3
    quarters = np.repeat(np.repeat(np.array([[1, 2], [3, 4]], np.uint8), 11, 0), 14, 1)
    thin = 5 * np.eye(19, dtype=np.uint8)
    thin[9, :] = 5
    return {
        "a holes.png": holes,
        "b/parts.v2.png": parts,
        "b/images/one pixel.png": one,
        "c.png": np.full((23, 37), 9, np.uint8),  # the whole image
        "d.png": np.zeros((12, 14), np.uint8),  # nothing at all
        "e.png": quarters,
        "f.png": np.ones((1, 1), np.uint8),
        "g.png": np.array([[0, 1, 1, 0, 2, 2, 0, 1] * 5], np.uint8),  # one row
        "h.png": np.arange(256, dtype=np.uint8).reshape(16, 16),  # 255 objects
        "ü.png": random.integers(0, 4, (15, 21)).astype(np.uint8),  # many parts
        "z.png": thin,
    }


def make_results(folder: Path, masks: dict[str, Bytes]) -> Path:
    """Segment images with given labels, and return the folder of results."""
    for name, labels in masks.items():
        path = folder / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        others = np.arange(2 * labels.size).reshape(*labels.shape, 2) % 251
        Image.fromarray(np.concatenate([labels[..., None], others], 2).astype(np.uint8)).save(path)
    source = open_source(folder / "pictures")
    segment_source(ReadingModel(), source, folder / "results", model_name="reader")
    return folder / "results"


@pytest.fixture(scope="session")
def masks() -> dict[str, Bytes]:
    """What the results hold. Not to be changed."""
    return draw_masks()


@pytest.fixture
def results(tmp_path: Path, masks: dict[str, Bytes]) -> Path:
    """A folder of results."""
    return make_results(tmp_path, masks)
