"""The ground residuals of all training images: the projection fitted to them, and computed once, into a file."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from astseg._core.atomic_io import atomic_write
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
STEP = 512
"""Images between two notes of what is done."""


@torch.no_grad()
def fit_projection(model: SlowFeatures, images: TrainingImages, seed: int, progress: NamedProgress) -> None:
    """Fit a model's slow projection to some of its training images, spread evenly."""
    chosen = evenly_spaced(len(images), FITTED_IMAGES)
    height, width = images.stored.shape[1:3]
    differences = sample_differences(
        len(chosen),
        (height, width),
        lambda batch: model.backbone(images[chosen[batch]], (height, width)),
        seed,
        batch_size=BATCH,
        progress=lambda done, total: progress("Fitting slow features", done, total),
    )
    model.projection = fit_slow_projection(differences, model.layout.directions)


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
    known = json.loads(noted.read_text()) if noted.is_file() else {}
    done = known["done"] if known.get("identity") == identity and path.is_file() else 0
    shape = (len(images), features.layout.directions, *model.grid)
    mode = "r+" if done else "w+"
    stored = np.lib.format.open_memmap(path, mode=mode, dtype=np.float16, shape=None if done else shape)
    for start in range(done, len(images), STEP):
        stop = min(start + STEP, len(images))
        for first in range(start, stop, BATCH):
            indices = np.arange(first, min(first + BATCH, stop))
            stored[indices] = features(images[indices]).coarse.half().cpu().numpy()
            progress(COMPUTING_RESIDUALS, int(indices[-1]) + 1, len(images))
        stored.flush()
        with atomic_write(noted) as partial:
            partial.write_text(json.dumps({"identity": identity, "done": stop}) + "\n")
    found: np.ndarray = np.load(path, mmap_mode="r")
    return found


def _identity(features: SlowFeatures, images: TrainingImages) -> str:
    """Return what changes with the features, or with the number and size of the images."""
    content = json.dumps([to_builtins(features.layout), images.stored.shape]).encode()
    parts = (part.cpu().numpy().tobytes() for part in features.projection)
    return hashlib.sha256(b"".join((content, *parts))).hexdigest()
