from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from astseg._core.settings_io import override
from astseg.paper.report import Report, Table, build_report, group_results, read_results
from astseg.training.presets import PRESETS
from astseg.training.run_folder import RunSettings, write_run

Make = Callable[..., Path]


def report_of(*runs: Path) -> Report:
    return build_report(group_results(read_results(runs)[0]))


def table(report: Report, title: str) -> Table:
    return next(table for table in report.tables if table.title == title)


def own_rows(table: Table) -> list[tuple[str, ...]]:
    return [row.cells for row in table.rows if row.own]


class TestScores:
    def test_published_systems_then_ours(self, make_run: Make) -> None:
        runs = [make_run("clevr", seed, miou) for seed, miou in ((0, 0.9), (1, 0.8))]
        found = table(report_of(*runs), "CLEVR: Table 1")
        assert found.columns == ("model", "mIoU (%)", "ARI-FG (%)", "MSE", "runs")
        assert found.rows[0].cells == ("SPAIR [10]", "65.95 ± 4.02", "77.13 ± 1.92", "55 ± 10", "3")
        assert found.rows[11].cells[0] == "AST-Seg-B3-CT"
        assert own_rows(found) == [
            ("astseg clevr", "85.00 ± 7.07", "42.50 ± 3.54", "85.0 ± 7.1", "2"),
            ("background everywhere, on 5000 images of clevr", "25.00", "12.50", "-", "-"),
        ]

    def test_columns_of_table_2(self, make_run: Make) -> None:
        found = table(report_of(make_run("objectsroom")), "ObjectsRoom: Table 2")
        assert found.columns == ("model", "mIoU (%)", "ARI-FG (%)", "MSC-FG (%)", "MSE", "runs")
        assert found.rows[0].cells == ("MONet-g [4, 15]", "-", "54 ± 0", "33 ± 1", "-", "-")

    def test_elsewhere(self, make_run: Make) -> None:
        found = table(report_of(make_run("clevrtex-unet", miou=0.5, ood=0.25)), "OOD: Table 3")
        assert own_rows(found)[0][:3] == ("astseg clevrtex-unet on OOD", "25.00", "12.50")
        assert ("AKOrN-Large", "-", "87.7 ± 0.5", "-", "-") in [row.cells for row in found.rows]
        assert "AKOrN-Large: Miyato et al." in found.note

    def test_a_miniature_says_so_and_at_which_size_its_error_is(self, make_run: Make) -> None:
        found = table(report_of(make_run("clevrtex", small=True)), "CLEVRTEX: Table 1")
        cells = own_rows(found)[0]
        assert cells[0] == "astseg clevrtex [MINIATURE, LOOK-ALIKE]"
        assert cells[3] == "50.0 at 64 x 64"


class TestAblations:
    def test_ours_beside_the_published_ones(self, make_run: Make) -> None:
        found = table(report_of(make_run("clevr-unet"), make_run("clevr-baseline")), "CLEVR: Table 4")
        rows = {row.cells[0]: row.cells[1:] for row in found.rows}
        assert len(rows) == 9
        assert rows["using a Unet instead of Segformer feature generator"] == (
            "90.70", "98.17", "50.00", "25.00", "1", "",
        )  # fmt: skip
        assert rows["full model AST-Seg-B3-CT (reference)"] == ("90.27*", "98.26*", "-", "-", "-", "")
        assert all(len(row.cells) == len(found.columns) for row in found.rows)

    def test_none_elsewhere(self, make_run: Make) -> None:
        titles = [table.title for table in report_of(make_run("clevrtex", ood=0.5)).tables]
        assert titles == ["CLEVRTEX: Table 1", "CLEVRTEX: Table 4", "OOD: Table 3", "Training times: Table 5"]


class TestTimes:
    def test_beside_the_published_ones(self, make_run: Make) -> None:
        found = table(report_of(make_run("clevr", 0), make_run("clevr", 2)), "Training times: Table 5")
        assert [row.cells for row in found.rows] == [
            ("published: CLEVR", "128 x 128", "2500", "20 min 00 s", "125000", "12 h 03 min", "Nvidia RTX 3090"),
            ("astseg clevr", "128 x 128", "2500", "1 min 01 s", "125000", "5 min 00 s", "a machine"),
        ]

    def test_phases_that_a_scenario_lacks(self, make_run: Make) -> None:
        run = make_run("clevr-baseline", seconds={"joint": 59.0})
        found = table(report_of(run), "Training times: Table 5")
        assert found.rows[1].cells[2:6] == ("-", "-", "125000", "59.0 s")

    def test_nothing_without_times(self, make_run: Make) -> None:
        titles = [table.title for table in report_of(make_run("clevr", seconds={})).tables]
        assert titles == ["CLEVR: Table 1", "CLEVR: Table 4"]


class TestReport:
    def test_warnings(self, make_run: Make) -> None:
        warnings = report_of(make_run("clevrtex", small=True), make_run("clevr")).warnings
        assert [warning.partition(":")[0] for warning in warnings[:2]] == ["MINIATURE", "LOOK-ALIKE"]
        assert "1 of 2 rows" in warnings[0]
        assert warnings[2].startswith("2 of 2 rows are of a single run")

    def test_nothing_to_warn_of(self, make_run: Make) -> None:
        assert report_of(make_run("clevr", 0), make_run("clevr", 1)).warnings == ()

    def test_runs_in_no_table(self, make_run: Make) -> None:
        found = report_of(make_run("demo"))
        (only,) = found.tables
        assert only.title == "Runs that are in no table of the paper"
        assert own_rows(only) == [("astseg demo", "50.00", "25.00", "12.50", "50.0", "1")]

    def test_runs_of_one_name_are_told_apart_by_their_settings(self, make_run: Make) -> None:
        """As in a sweep of `astseg train`, whose runs have the title of their data."""
        runs = []
        for weight, seed in ((1e-3, 0), (1e-3, 1), (1e-2, 0)):
            run = make_run(None, seed, 0.5 + seed / 10, name=f"{weight}-{seed}")
            recipe = override(PRESETS["demo"].recipe, {"foreground.entropy_weight": weight})
            write_run(run, RunSettings("astseg on mine", recipe, "/data", seed), torch.device("cpu"))
            runs.append(run)
        (only,) = report_of(*runs).tables[:1]
        assert [(name, miou, count) for name, miou, *_, count in own_rows(only)] == [
            ("astseg on mine, foreground.entropy_weight 0.001", "55.00 ± 7.07", "2"),
            ("astseg on mine, foreground.entropy_weight 0.01", "50.00", "1"),
        ]

    def test_runs_that_began_differently_or_saw_other_images_are_no_seeds_of_each_other(self, make_run: Make) -> None:
        recipe, runs = PRESETS["demo"].recipe, []
        begun: tuple[dict[str, Any], ...] = ({}, {"model": "rooms"}, {"model": "clevr"}, {"images_sha256": "0" * 64})
        for seed, how in enumerate(begun):
            runs.append(make_run(None, seed, name=f"run-{seed}"))
            write_run(runs[-1], RunSettings("astseg on mine", recipe, "/data", seed, **how), torch.device("cpu"))
        rows = own_rows(report_of(*runs).tables[0])
        assert [row[-1] for row in rows] == ["1"] * 4
        names = [row[0] for row in rows]
        assert names.count("astseg on mine, from random weights") == 2
        assert {"astseg on mine, begun with rooms", "astseg on mine, begun with clevr"} < {*names}

    def test_unfinished_runs_are_named(self, make_run: Make) -> None:
        groups = group_results(read_results([make_run("clevr")])[0])
        warnings = build_report(groups, ["clevr-seed-1"]).warnings
        assert warnings[-1] == "Left out, because they have no scores yet: clevr-seed-1."
