"""Score tracks in generated sequences of moving objects, of true masks and of a model's.

Compared are linking by the number of the slot, the Hungarian method over the IoU with the frame before, and `Tracker`.
True masks are numbered from left to right in each frame, as slots are that each keep to a stretch of the image.

The model is one for all sequences, or with ``--own`` one for each, trained on its frames without their truth, as
somebody would whose camera stands still:

    python benchmarks/tracking.py --sequences 3 --frames 1000 --own runs
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

import astseg
from astseg.data.scenes.generation import Scenes
from astseg.data.scenes.moving import render_sequence
from astseg.data.store import Bytes
from astseg.evaluation.tracking import TrackingScores, mean_scores, score_tracks
from astseg.inference.tracked_objects import median_colors
from astseg.inference.tracking import Tracker

Labels = npt.NDArray[np.int64]
Features = npt.NDArray[np.float64]
BATCH_SIZE = 20
ONE_COLOR = ("division_likeness=0.7", "border_exponent=0.5", "duplicate_likeness=0.3")
"""Each of these objects has one color."""
OWN_TRAINING = (
    *("--objects", "8", "--steps", "3000", "--device", "cpu"),
    *(word for value in ONE_COLOR for word in ("--set", f"label_rule.{value}")),
)
"""What ``astseg train`` is given for a model of a sequence's own."""


def link_plainly(frames: Sequence[Bytes]) -> list[Labels]:
    """Link each object to the one of the frame before with which it overlaps, by the Hungarian method over IoU."""
    linked: list[Labels] = []
    latest = 0
    for frame in frames:
        names = [int(name) for name in np.unique(frame) if name]
        before = linked[-1] if linked else np.zeros(frame.shape, np.int64)
        tracks = [int(track) for track in np.unique(before) if track]
        iou = np.array(
            [
                [((before == t) & (frame == n)).sum() / ((before == t) | (frame == n)).sum() for n in names]
                for t in tracks
            ]
        ).reshape(len(tracks), len(names))
        numbers = np.zeros(256, np.int64)
        for row, column in zip(*linear_sum_assignment(-iou), strict=True):
            if iou[row, column] > 0:
                numbers[names[column]] = tracks[row]
        for name in names:
            if not numbers[name]:
                latest += 1
                numbers[name] = latest
        linked.append(numbers[frame])
    return linked


def track(frames: Sequence[Bytes], features: Sequence[Features] | None = None) -> list[Labels]:
    """Link objects by a `Tracker`."""
    tracker = Tracker()
    return [tracker.update(frame, None if features is None else features[i]) for i, frame in enumerate(frames)]


def number_from_left(mask: Bytes) -> Bytes:
    """Number the objects of a mask by the x of their centroids."""
    names = [name for name in np.unique(mask) if name]
    names.sort(key=lambda name: np.nonzero(mask == name)[1].mean())
    numbers = np.zeros(256, np.uint8)
    numbers[names] = np.arange(1, len(names) + 1)
    numbered: Bytes = numbers[mask]
    return numbered


def own_model(run: Path, images: Bytes) -> astseg.AstSeg:
    """Return the model of a run, which is trained on the images first if it is not there."""
    if not run.exists():
        with tempfile.TemporaryDirectory() as folder:
            film, whole = Path(folder, "film.npy"), Path(folder, "run")
            np.save(film, images)
            command = [sys.executable, "-m", "astseg", "train", str(film), "--out", str(whole), *OWN_TRAINING]
            subprocess.run(command, check=True)
            run.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(whole, run)  # once it is trained, not where it was stopped
    return astseg.load_model(str(run))


def score_sequence(scenes: Scenes, model: astseg.AstSeg) -> Iterator[tuple[str, TrackingScores]]:
    """Yield the name and the scores of each way of linking."""
    frames = len(scenes.images)
    masks = [number_from_left(mask) for mask in scenes.masks]
    colors = [median_colors(image, mask) for image, mask in zip(scenes.images, masks, strict=True)]
    parts = [model.segment(list(scenes.images[start : start + BATCH_SIZE])) for start in range(0, frames, BATCH_SIZE)]
    labels = np.concatenate([part.labels.numpy() for part in parts]).astype(np.uint8)
    found_colors = [median_colors(image, label) for image, label in zip(scenes.images, labels, strict=True)]
    looks = np.concatenate([part.appearances.numpy() for part in parts]).astype(np.float64)
    ways: dict[str, Sequence[npt.NDArray[np.integer]]] = {
        "true masks, number from the left": masks,
        "true masks, plain": link_plainly(masks),
        "true masks, Tracker": track(masks),
        "true masks, Tracker with colors": track(masks, colors),
        "model, slot number": list(labels),
        "model, plain": link_plainly(list(labels)),
        "model, Tracker": track(list(labels)),
        "model, Tracker with z_what": track(list(labels), list(looks)),
        "model, Tracker with colors": track(list(labels), found_colors),
    }
    for name, linked in ways.items():
        yield name, score_tracks(scenes.masks, linked)


def main() -> None:
    """Print a row for each way of linking."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="clevr", help="a run, a model's folder, or a model that comes with astseg")
    parser.add_argument("--own", type=Path, metavar="FOLDER", help="a model for each sequence; keep the runs here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sequences", type=int, default=10)
    parser.add_argument("--frames", type=int, default=100)
    arguments = parser.parse_args()
    model = None if arguments.own else astseg.load_model(arguments.model)
    scores: dict[str, list[TrackingScores]] = {}
    for index in range(arguments.sequences):
        scenes = render_sequence(arguments.seed, index, arguments.frames)
        used = model or own_model(arguments.own / f"{arguments.seed}-{index}", scenes.images)
        for name, score in score_sequence(scenes, used):
            scores.setdefault(name, []).append(score)
    print("| linked by | switches | IDF1 | HOTA |\n| --- | ---: | ---: | ---: |")
    for name, found in scores.items():
        mean = mean_scores(found)
        print(f"| {name} | {mean.switches} | {100 * mean.idf1:.1f} | {100 * mean.hota:.1f} |")


if __name__ == "__main__":
    main()
