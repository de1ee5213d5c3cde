"""Compute the F-measure of ``astseg background`` on a sequence of CDnet 2014, by CDnet's rule.

    astseg background highway.avi --minutes 1 --out background
    python benchmarks/change_detection.py background/images/masks highway/groundtruth

The truth of frame n, counted from 1, is ``gtNNNNNN.png``; the masks of a video are counted from 0, so it belongs to
mask n - 1. Its values: 0 (static) and 50 (hard shadow) are background, 255 is moving, 85 (outside the region of
interest) and 170 (unknown) are not scored. All pixels of all frames count together.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from astseg.evaluation.metrics import f_measure

SHADOW, OUTSIDE, UNKNOWN, MOVING = 50, 85, 170, 255


def main() -> None:
    """Print the number of scored frames, F-measure, precision, recall, and the share of shadow pixels in the masks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("masks", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--from", dest="first", type=int, default=1, help="the first frame to score")
    parser.add_argument("--to", dest="last", type=int, default=10**6, help="the last frame to score")
    arguments = parser.parse_args()
    counts, shadows = np.zeros(3, np.int64), np.zeros(2, np.int64)
    frames = 0
    for index, path in enumerate(sorted(arguments.masks.glob("*.png")), 1):
        truth_path = arguments.truth / f"gt{index:06d}.png"
        if not arguments.first <= index <= arguments.last or not truth_path.is_file():
            continue
        mask, truth = np.asarray(Image.open(path)) > 0, np.asarray(Image.open(truth_path).convert("L"))
        scored, moving = (truth != OUTSIDE) & (truth != UNKNOWN), truth == MOVING
        if not scored.any():
            continue
        counts += [(mask & moving).sum(), (mask & scored & ~moving).sum(), (~mask & moving).sum()]
        shadows += [(mask & (truth == SHADOW)).sum(), (truth == SHADOW).sum()]
        frames += 1
    hits, false_alarms, misses = counts.tolist()
    print(f"{frames} frames: F-measure {f_measure(hits, false_alarms, misses):.4f}", end=", ")
    print(f"precision {hits / max(1, hits + false_alarms):.4f}, recall {hits / max(1, hits + misses):.4f}", end=", ")
    print(f"{shadows[0] / max(1, shadows[1]):.1%} of the shadows are foreground")


if __name__ == "__main__":
    main()
