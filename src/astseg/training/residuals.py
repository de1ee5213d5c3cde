"""The ground residuals of all training images: the projection fitted to them, and computed once, into a file."""

import hashlib
import json
import math
import os
from pathlib import Path

import numpy as np
import torch

from astseg._core.atomic_io import atomic_write
from astseg._core.input_files import read_json
from astseg._core.progress import NamedProgress
from astseg._core.sampling import evenly_spaced
from astseg._core.settings_io import to_builtins
from astseg.model.ast_seg import AstSeg
from astseg.model.slow_features.features import SlowFeatures
from astseg.model.slow_features.projection import fit_slow_projection, sample_differences
from astseg.training.batches import TrainingImages

COMPUTING_RESIDUALS = "Computing slow features"
"""What `cached_residuals` calls its progress."""
RESIDUALS_FILE = "residuals.npy"
IDENTITY_FILE = "residuals.json"
FITTED_IMAGES = 250
"""Images whose pairs of cells the projection is fitted to."""
BATCH = 16
"""Images that are looked at together; fewer if they are larger than 64x64."""
STEP = 512
"""Images between two notes of what is done."""


@torch.no_grad()
def fit_projection(model: SlowFeatures, images: TrainingImages, seed: int, progress: NamedProgress) -> None:
    """Fit a model's slow projection to some of its training images, spread evenly."""
    chosen = evenly_spaced(len(images), FITTED_IMAGES)
    height, width = images.stored.shape[1:3]
    differences = sample_differences(
        len(chosen),
        model.backbone.channels,
        (height, width),
        lambda batch: model.backbone(images[chosen[batch]], (height, width)),
        seed,
        batch_size=batch_size((height, width)),
        progress=lambda done, total: progress("Fitting slow features", done, total),
    )
    model.projection = fit_slow_projection(differences, model.layout.directions)


def batch_size(size: tuple[int, int]) -> int:
    """Return how many images of this height and width are looked at together, so that memory does not grow with them.

    >>> batch_size((64, 64)), batch_size((128, 128)), batch_size((1024, 1024))
    (16, 4, 1)
    """
    return max(1, int(BATCH * min(1.0, 64 * 64 / math.prod(size))))


@torch.no_grad()
def cached_residuals(model: AstSeg, images: TrainingImages, folder: Path, progress: NamedProgress) -> np.ndarray:
    """Return the coarse ground residuals of all images, N x directions x rows x columns in half precision.

    They are kept in a folder. What lies there is used if it was computed by the same features from as many images; what
    was interrupted goes on behind the last block that is whole.
    """
    features = model.slow_features
    assert features is not None
    path, noted = folder / RESIDUALS_FILE, folder / IDENTITY_FILE
    identity = _identity(features, images)
    shape = (len(images), features.layout.directions, *model.grid)
    bytes_per_image = 2 * math.prod(shape[1:])
    together = batch_size(model.image_size)
    done = _images_done(path, noted, identity, bytes_per_image)
    # Written, not mapped: on a full disk, a map kills the process without a word.
    with path.open("r+b" if done else "wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.seek(done * bytes_per_image, os.SEEK_CUR)
        for start in range(done, len(images), STEP):
            stop = min(start + STEP, len(images))
            for first in range(start, stop, together):
                indices = np.arange(first, min(first + together, stop))
                values = features(images[indices]).coarse.half().cpu().numpy()
                file.write(np.ascontiguousarray(values, "<f2").data)
                progress(COMPUTING_RESIDUALS, int(indices[-1]) + 1, len(images))
            file.flush()
            with atomic_write(noted) as partial:
                partial.write_text(json.dumps({"identity": identity, "done": stop}) + "\n")
    found: np.ndarray = np.load(path, mmap_mode="r")
    return found


def _images_done(path: Path, noted: Path, identity: str, bytes_per_image: int) -> int:
    """Return how many images' residuals of these features lie whole in a file."""
    try:
        known = read_json(noted)
        whole = path.stat().st_size >= known["done"] * bytes_per_image
        return int(known["done"]) if known["identity"] == identity and whole else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _identity(features: SlowFeatures, images: TrainingImages) -> str:
    """Return what changes with the features, with the number and size of the images, and with some of them."""
    content = json.dumps([to_builtins(features.layout), images.stored.shape]).encode()
    parts = [part.cpu().numpy() for part in (*features.projection, images[evenly_spaced(len(images), BATCH)])]
    return hashlib.sha256(b"".join((content, *(part.tobytes() for part in parts)))).hexdigest()
