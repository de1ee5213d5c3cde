"""The ground residuals of all training images, computed once and kept in a file; and the fit of their projection."""

import hashlib
import io
import json
import math
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from astseg._core.atomic_io import atomic_write, make_folder, sync_opened, unlink_link
from astseg._core.checksums import Sums, damaged_row, read_sums, row_sums, sums_file
from astseg._core.input_files import read_json
from astseg._core.mapped_arrays import map_array
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
NUM_FITTED_IMAGES = 250
"""Images whose pairs of cells the projection is fitted to."""
RESPONSES_VERSION = 2
"""Raised when the responses of the same backbones change, so that older residuals are not continued."""
MAX_BATCH_SIZE = 16
"""Images that are looked at together; fewer if they are larger than 64x64."""
BLOCK_SIZE = 512
"""The number of images after which progress is recorded. After an interruption, the unfinished block is computed
again."""
NO_SUMS = np.empty(0, "<u4")


@torch.no_grad()
def fit_projection(model: SlowFeatures, images: TrainingImages, seed: int, progress: NamedProgress) -> None:
    """Fit a model's slow projection to some of its training images, spread evenly."""
    chosen = evenly_spaced(len(images), NUM_FITTED_IMAGES)
    height, width = images.stored.shape[1:3]
    differences = sample_differences(
        len(chosen),
        model.backbone.channels,
        (height, width),
        lambda batch: model.backbone(images[chosen[batch]], (height, width)),
        seed,
        batch_size=images_at_once((height, width)),
        progress=lambda done, total: progress("Fitting slow features", done, total),
    )
    model.projection = fit_slow_projection(differences, model.layout.directions)


def images_at_once(size: tuple[int, int]) -> int:
    """Return how many images of this height and width are looked at together, so that memory does not grow with them.

    >>> images_at_once((64, 64)), images_at_once((128, 128)), images_at_once((1024, 1024))
    (16, 4, 1)
    """
    return max(1, int(MAX_BATCH_SIZE * min(1.0, 64 * 64 / math.prod(size))))


@torch.no_grad()
def cached_residuals(model: AstSeg, images: TrainingImages, folder: Path, progress: NamedProgress) -> np.ndarray:
    """Return the coarse ground residuals of all images, N x directions x rows x columns in half precision.

    They are kept in a folder. A file that is there already is used if the same features computed it from as many
    images, and if no damage is seen in the rows that are checked. After an interruption, it is continued behind the
    last complete block.
    """
    features = model.slow_features
    assert features is not None
    path, noted = folder / RESIDUALS_FILE, folder / IDENTITY_FILE
    identity = _identity(features, images)
    shape = (len(images), features.layout.directions, *model.grid)
    header = _header(shape)
    kept = NO_SUMS if path.is_symlink() else _kept_sums(path, noted, identity, shape)
    sums, done = np.empty(len(images), "<u4"), len(kept)
    sums[:done] = kept
    make_folder(folder)  # where there are no frozen backgrounds, nothing is there yet
    # Written, not mapped: on a full disk, a map kills the process without a word.
    unlink_link(path)
    with path.open("r+b" if done else "wb") as file:
        file.write(header)
        file.seek(2 * math.prod(shape[1:]) * done, os.SEEK_CUR)
        for start in range(done, len(images), BLOCK_SIZE):
            stop = min(start + BLOCK_SIZE, len(images))
            sums[start:stop] = _write_block(file, features, images, start, stop, progress)
            with atomic_write(sums_file(path)) as partial:
                partial.write_bytes(sums[:stop].tobytes())
            with atomic_write(noted) as partial:
                partial.write_text(json.dumps({"identity": identity, "done": stop}) + "\n")
    found: np.ndarray = map_array(path)
    return found


def _write_block(
    file: BinaryIO, features: SlowFeatures, images: TrainingImages, start: int, stop: int, progress: NamedProgress
) -> Sums:
    """Write the residuals of the images from start to stop, to the disk itself; return their checksums."""
    height, width = images.stored.shape[1:3]
    together = images_at_once((height, width))
    sums = []
    for first in range(start, stop, together):
        indices = np.arange(first, min(first + together, stop))
        values = np.ascontiguousarray(features(images[indices]).coarse.half().cpu().numpy(), "<f2")
        sums.append(row_sums(values))
        file.write(values.data)
        progress(COMPUTING_RESIDUALS, int(indices[-1]) + 1, len(images))
    file.flush()
    sync_opened(file.fileno())  # before it is noted as done
    return np.concatenate(sums)


def _header(shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f2", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _kept_sums(path: Path, noted: Path, identity: str, shape: tuple[int, ...]) -> Sums:
    """Return the checksums of the intact residuals of these features in a file; empty if there are none."""
    try:
        known = read_json(noted)
        done = known["done"] if known["identity"] == identity else 0
        if type(done) is not int or not 0 < done <= shape[0]:
            return NO_SUMS
        rows = np.memmap(path, "<f2", "r", len(_header(shape)), (done, *shape[1:]))
        if not sums_file(path).is_file():  # of an older astseg
            return row_sums(rows)
        sums = read_sums(sums_file(path))[:done]
        return sums if len(sums) == done and damaged_row(rows, sums) is None else NO_SUMS
    except (OSError, ValueError, KeyError, TypeError):
        return NO_SUMS


def _identity(features: SlowFeatures, images: TrainingImages) -> str:
    """Return a hash of the features, of the number and size of the images, and of some of the images."""
    content = json.dumps([RESPONSES_VERSION, to_builtins(features.layout), images.stored.shape]).encode()
    parts = [part.cpu().numpy() for part in (*features.projection, images[evenly_spaced(len(images), MAX_BATCH_SIZE)])]
    return hashlib.sha256(b"".join((content, *(part.tobytes() for part in parts)))).hexdigest()
