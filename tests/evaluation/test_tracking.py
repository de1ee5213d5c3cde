"""The scores against motmetrics, against HOTA as its paper writes it, and against cases counted by hand."""

import warnings
from itertools import permutations

import numpy as np
import numpy.typing as npt
import pytest

from astseg.evaluation.tracking import TrackingScores, mean_scores, score_tracks

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import motmetrics

Labels = npt.NDArray[np.int64]
Overlaps = list[dict[tuple[int, int], float]]
"""For each frame, the IoU of each pair of a true object and a track."""

SEEDS = range(6)


def random_tracks(seed: int, frames: int = 20) -> tuple[list[Labels], list[Labels]]:
    """Blocks that drift and vanish, and tracks that lose, exchange and shift them."""
    generator = np.random.default_rng(seed)
    names = np.arange(8)
    truth, found = [], []
    for frame in range(frames):
        image = np.zeros((24, 40), np.int64)
        for label in range(1, 6):
            left = 5 * label + frame // 6 - label % 3
            image[3 * label : 3 * label + 5, left : left + 6] = label * (generator.random() > 0.2)
        if generator.random() < 0.3:
            generator.shuffle(names[1:])
        truth.append(image)
        found.append(np.roll(names[image], int(generator.integers(0, 3)), 1) * (generator.random((24, 40)) > 0.1))
    return truth, found


def names_in(image: Labels) -> list[int]:
    return [int(name) for name in np.unique(image) if name]


def overlaps(truth: list[Labels], found: list[Labels]) -> Overlaps:
    return [
        {
            (a, b): ((true == a) & (tracks == b)).sum() / ((true == a) | (tracks == b)).sum()
            for a in names_in(true)
            for b in names_in(tracks)
        }
        for true, tracks in zip(truth, found, strict=True)
    ]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.filterwarnings("ignore")
def test_identities_and_switches_are_those_of_motmetrics(seed: int) -> None:
    truth, found = random_tracks(seed)
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    for true, tracks, ious in zip(truth, found, overlaps(truth, found), strict=True):
        distances = [[1 - ious[a, b] if ious[a, b] > 0.5 else np.nan for b in names_in(tracks)] for a in names_in(true)]
        accumulator.update(names_in(true), names_in(tracks), distances)
    summary = motmetrics.metrics.create().compute(accumulator, metrics=["idf1", "num_switches"])
    scores = score_tracks(truth, found)
    assert scores.idf1 == pytest.approx(summary["idf1"].iloc[0])
    assert scores.switches == summary["num_switches"].iloc[0] > 5


def slow_hota(truth: list[Labels], found: list[Labels]) -> float:
    """HOTA by equations 3 to 8 of Luiten et al.; matches are the best by appendix A of all that there are."""
    ious = overlaps(truth, found)
    true_frames = [names_in(image) for image in truth]
    found_frames = [names_in(image) for image in found]

    def alignment(a: int, b: int) -> float:
        share = 0.0
        for one in ious:
            if (a, b) in one:
                others = sum(iou for pair, iou in one.items() if pair[0] == a or pair[1] == b)
                share += one[a, b] / others if others else 0.0
        seen = sum(a in names for names in true_frames) + sum(b in names for names in found_frames)
        return share / (seen - share)

    matches: list[list[tuple[int, int]]] = []
    for one, left, right in zip(ious, true_frames, found_frames, strict=True):
        padded = [*right, *[None] * len(left)]
        orders = {order[: len(left)] for order in permutations(padded, len(left))}
        choices = [[(a, b) for a, b in zip(left, order, strict=True) if b is not None] for order in orders]
        matches.append(max(choices, key=lambda pairs: sum(alignment(a, b) * one[a, b] for a, b in pairs)))
    scores = []
    for alpha in np.arange(0.05, 0.99, 0.05):
        hits = [[pair for pair in pairs if one[pair] >= alpha - 1e-9] for one, pairs in zip(ious, matches, strict=True)]
        every = [pair for pairs in hits for pair in pairs]
        misses = sum(map(len, true_frames)) - len(every)
        false = sum(map(len, found_frames)) - len(every)
        association = 0.0
        for a, b in every:
            both = every.count((a, b))
            missed = sum(a in names for names in true_frames) - both
            wrong = sum(b in names for names in found_frames) - both
            association += both / (both + missed + wrong)
        scores.append((association / (len(every) + misses + false)) ** 0.5)
    return float(np.mean(scores))


@pytest.mark.parametrize("seed", SEEDS)
def test_hota_is_what_its_paper_says(seed: int) -> None:
    truth, found = random_tracks(seed, frames=8)
    assert score_tracks(truth, found).hota == pytest.approx(slow_hota(truth, found))


def test_perfect_tracks_may_have_any_numbers() -> None:
    truth, _ = random_tracks(0)
    assert score_tracks(truth, [np.array([0, 9, 5, 7, 300, 2])[image] for image in truth]) == TrackingScores(1, 1, 0)


def test_one_switch_by_hand() -> None:
    """Of one object's four frames the last is another track's: IDF1 6 / 8, HOTA the root of (3 x 3/4 + 1/4) / 4."""
    block = np.ones((2, 2), np.int64)
    scores = score_tracks([block] * 4, [block, block, block, 2 * block])
    assert scores.switches == 1
    assert scores.idf1 == 0.75
    assert scores.hota == pytest.approx((2.5 / 4) ** 0.5)


def test_nothing_at_all() -> None:
    empty, block = np.zeros((2, 2), np.int64), np.ones((2, 2), np.int64)
    assert score_tracks([empty], [empty]) == TrackingScores(1, 1, 0)
    assert score_tracks([empty], [block]) == TrackingScores(0, 0, 0)
    assert score_tracks([block], [empty]) == TrackingScores(0, 0, 0)


def test_several_sequences() -> None:
    assert mean_scores([TrackingScores(1, 0.5, 2), TrackingScores(0, 0.25, 3)]) == TrackingScores(0.5, 0.375, 5)
