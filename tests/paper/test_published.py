"""The published figures against a second transcription by columns, and against each other and the presets."""

import pytest

from astseg.data.catalog import DATASETS, TRAINING_SETS
from astseg.paper.ablation import rows_of
from astseg.paper.published import (
    ABLATIONS,
    SYSTEMS,
    TIMES,
    PublishedRow,
    ScoreName,
    published_ablations,
    published_systems,
)

OTHERS = ["SPAIR", "SPACE", "GNM", "MN", "DTI", "Gen-V2", "eMORL", "MONet", "SA", "IODINE"]
OWN = ["AST-Seg-B3-BT", "AST-Seg-B3-CT"]

# Read down the columns of the paper's tables; the module has them by line.
MEANS: dict[tuple[str, ScoreName], list[float]] = {
    ("clevr", "miou"): [65.95, 26.31, 59.92, 56.81, 48.74, 9.48, 50.19, 30.66, 36.61, 45.14, 71.92, 90.27],
    ("clevr", "ari_fg"): [77.13, 22.75, 65.05, 72.12, 89.54, 57.90, 93.25, 54.47, 95.89, 93.81, 76.05, 98.26],
    ("clevr", "mse"): [55, 63, 43, 75, 77, 158, 33, 58, 23, 44, 51, 16],
    ("clevrtex", "miou"): [0, 9.14, 42.25, 10.46, 33.79, 7.93, 12.58, 19.78, 22.58, 29.17, 57.30, 79.58],
    ("clevrtex", "ari_fg"): [0, 17.53, 53.37, 38.31, 79.90, 31.19, 45, 36.66, 62.40, 59.52, 71.79, 94.77, 88.5],
    ("clevrtex", "mse"): [1101, 298, 383, 335, 438, 315, 318, 146, 254, 340, 152, 139],
    ("clevrtex-ood", "miou"): [0, 6.87, 40.84, 12.13, 32.55, 8.74, 13.17, 19.30, 20.98, 26.28, 67.50],
    ("clevrtex-ood", "ari_fg"): [0, 12.71, 48.43, 37.29, 73.67, 29.04, 43.13, 32.97, 58.45, 53.20, 83.14, 87.7],
    ("clevrtex-ood", "mse"): [1166, 387, 626, 409, 590, 539, 471, 231, 487, 504, 832],
    ("clevrtex-camo", "miou"): [0, 8.67, 17.56, 8.79, 27.54, 7.49, 11.56, 10.52, 19.83, 17.52, 73.07],
    ("clevrtex-camo", "ari_fg"): [0, 10.55, 15.73, 31.52, 72.90, 29.60, 42.34, 12.44, 57.54, 36.31, 87.27, 77.0],
    ("clevrtex-camo", "mse"): [668, 251, 353, 265, 377, 278, 269, 112, 215, 315, 145],
    ("objectsroom", "ari_fg"): [54, 84, 79, 74.96, 87.23],
    ("objectsroom", "msc_fg"): [33, 58, 64, 69.86, 82.22],
    ("objectsroom", "miou"): [74.50, 85.02],
    ("objectsroom", "mse"): [11.7, 6.7],
    ("shapestacks", "ari_fg"): [70, 81, 76, 73.77, 79.34],
    ("shapestacks", "msc_fg"): [57, 68, 70, 74.12, 77.65],
    ("shapestacks", "miou"): [70.18, 78.84],
    ("shapestacks", "mse"): [11.8, 4.5],
}
DEVIATIONS: dict[tuple[str, ScoreName], list[float | None]] = {
    ("clevr", "miou"): [4.02, 12.93, 3.72, 0.40, 2.17, 0.55, 22.56, 14.87, 24.83, 17.85, 32.94, 0.20],
    ("clevr", "ari_fg"): [1.92, 14.04, 4.19, 0.64, 1.44, 20.38, 3.24, 11.41, 2.37, 0.76, 36.13, 0.07],
    ("clevr", "mse"): [10, 3, 3, 1, 12, 2, 8, 12, 3, 9, 63, 1],
    ("clevrtex", "miou"): [0, 3.46, 0.18, 0.10, 1.30, 1.53, 2.39, 1.02, 2.07, 0.75, 15.72, 0.54],
    ("clevrtex", "ari_fg"): [0, 4.13, 0.67, 0.70, 1.37, 12.41, 7.77, 0.87, 2.23, 2.20, 22.88, 0.51, None],
    ("clevrtex", "mse"): [2, 80, 2, 1, 22, 106, 43, 7, 8, 3, 39, 7],
    ("clevrtex-ood", "miou"): [0, 3.32, 0.30, 0.19, 1.08, 1.64, 2.58, 0.37, 1.59, 0.85, 0.75],
    ("clevrtex-ood", "ari_fg"): [0, 3.44, 0.86, 1.04, 0.98, 11.23, 9.28, 1.00, 1.87, 2.55, 0.75, 0.5],
    ("clevrtex-ood", "mse"): [5, 66, 5, 3, 4, 147, 51, 7, 16, 3, 24],
    ("clevrtex-camo", "miou"): [0, 3.50, 0.74, 0.15, 1.55, 1.67, 2.09, 0.38, 1.41, 0.75, 0.65],
    ("clevrtex-camo", "ari_fg"): [0, 2.09, 0.89, 0.87, 1.89, 12.84, 7.19, 0.73, 1.01, 2.57, 3.78, None],
    ("clevrtex-camo", "mse"): [3, 61, 1, 1, 17, 75, 31, 7, 7, 3, 6],
    ("objectsroom", "ari_fg"): [0, 1, 2, 10.02, 0.88],
    ("objectsroom", "msc_fg"): [1, 3, 13, 10.13, 0.96],
    ("objectsroom", "miou"): [8.61, 0.79],
    ("objectsroom", "mse"): [2.1, 0.9],
    ("shapestacks", "ari_fg"): [4, 0, 1, 7.56, 0.73],
    ("shapestacks", "msc_fg"): [12, 1, 5, 8.63, 1.3],
    ("shapestacks", "miou"): [12.68, 0.21],
    ("shapestacks", "mse"): [7.0, 0.2],
}
ABLATION_MEANS: dict[tuple[str, ScoreName], list[float]] = {
    ("clevrtex", "miou"): [79.58, 75.69, 79.11, 62.10, 66.82, 61.74, 70.18, 75.30, 78.68],
    ("clevrtex", "ari_fg"): [94.77, 94.41, 94.78, 89.96, 88.25, 80.22, 91.81, 95.31, 94.78],
    ("clevr", "miou"): [90.27, 77.16, 91.03, 90.56, 90.70, 88.94, 85.54, 81.46, 87.21],
    ("clevr", "ari_fg"): [98.26, 93.09, 98.17, 98.29, 98.17, 97.77, 96.09, 98.29, 98.53],
    ("shapestacks", "miou"): [78.84, 82.99, 78.87, 54.88, 75.51, 62.73, 52.17, 55.06, 45.47],
    ("shapestacks", "ari_fg"): [79.34, 82.29, 80.05, 65.16, 77.78, 68.40, 60.08, 66.24, 36.43],
    ("objectsroom", "miou"): [85.02, 85.51, 82.90, 66.78, 85.59, 77.71, 84.21, 85.82, 84.91],
    ("objectsroom", "ari_fg"): [87.23, 88.49, 86.45, 78.58, 87.93, 79.23, 86.19, 87.78, 87.20],
}
STARRED = {
    ("clevrtex", "full"),
    ("clevr", "full"),
    ("shapestacks", "full"),
    ("objectsroom", "full"),
    ("shapestacks", "no-transformer"),
    ("objectsroom", "no-transformer"),
    ("clevrtex", "one-more-slot"),
    ("clevr", "one-more-slot"),
}


@pytest.mark.parametrize(("dataset", "name"), MEANS)
def test_columns_of_tables_1_to_3(dataset: str, name: ScoreName) -> None:
    scores = [row.scores[name] for row in published_systems(dataset) if name in row.scores]
    assert [score.mean for score in scores] == MEANS[dataset, name]
    assert [score.deviation for score in scores] == DEVIATIONS[dataset, name]


@pytest.mark.parametrize(("dataset", "name"), ABLATION_MEANS)
def test_columns_of_table_4(dataset: str, name: ScoreName) -> None:
    assert [row.scores[name].mean for row in published_ablations(dataset)] == ABLATION_MEANS[dataset, name]


def test_every_figure_was_looked_at() -> None:
    assert {(row.dataset, name) for row in SYSTEMS for name in row.scores} == set(MEANS)
    assert {(row.dataset, name) for row in ABLATIONS for name in row.scores} == set(ABLATION_MEANS)


def test_systems() -> None:
    for dataset in (name for name, spec in DATASETS.items() if spec.trained_on):
        names = [row.system.partition(" [")[0] for row in published_systems(dataset)]
        if dataset in ("objectsroom", "shapestacks"):
            assert names == ["MONet-g", "Gen-v2", "SA", *OWN]
        else:
            own = OWN if dataset in TRAINING_SETS else OWN[1:]
            assert names == [*OTHERS, *own, *([] if dataset == "clevr" else ["AKOrN-Large"])]


def test_stars() -> None:
    for row in ABLATIONS:
        runs = 3 if (row.dataset, row.row) in STARRED else 1
        for score in row.scores.values():
            assert score.runs == runs
            assert score.printed.endswith("*") == (runs == 3)


def test_what_is_printed_is_what_is_meant() -> None:
    for row in SYSTEMS:
        for score in row.scores.values():
            mean, _, deviation = score.printed.partition(" ± ")
            assert float(mean) == score.mean
            assert (float(deviation) if deviation else None) == score.deviation


@pytest.mark.parametrize("dataset", TRAINING_SETS)
class TestAgainstEachOtherAndThePresets:
    def test_the_reference_of_table_4_is_the_model_of_tables_1_and_2(self, dataset: str) -> None:
        full = next(row for row in published_systems(dataset) if row.row == "full")
        reference = next(row for row in published_ablations(dataset) if row.row == "full")
        for name, score in reference.scores.items():
            assert score.mean == full.scores[name].mean

    def test_each_row_of_the_presets_is_published_and_the_other_way_round(self, dataset: str) -> None:
        def rows(published: tuple[PublishedRow, ...]) -> set[str]:
            return {row.row for row in published if row.row}

        assert rows(published_systems(dataset)) == {"full", "baseline"}
        assert rows(published_ablations(dataset)) | {"baseline"} == set(rows_of(dataset))

    def test_steps_of_table_5(self, dataset: str) -> None:
        (time,) = (time for time in TIMES if time.dataset == dataset)
        recipe = rows_of(dataset)["full"].recipe
        assert time.background_steps == recipe.background.steps
        assert time.foreground_steps == recipe.foreground.steps


def test_times_in_minutes() -> None:
    minutes = {time.dataset: (time.background_seconds / 60, time.foreground_seconds / 60) for time in TIMES}
    assert minutes == {
        "clevrtex": (3467, 960),
        "clevr": (20, 723),
        "objectsroom": (897, 391),
        "shapestacks": (860, 382),
    }
