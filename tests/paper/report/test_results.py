import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from astseg._core.errors import AstSegError
from astseg.evaluation.scores_file import DataDescription, read_scores, write_scores
from astseg.paper.report import group_results, read_results

Make = Callable[..., Path]


class TestReading:
    def test_a_run(self, make_run: Make) -> None:
        (result,), unfinished = read_results([make_run("clevr", seed=2, miou=0.8)])
        assert not unfinished
        assert result.dataset == "clevr"
        assert result.settings.seed == 2
        record = result.record
        assert (record.summary.overall.miou, record.summary.overall.mse) == (0.8, 80.0)
        assert record.summary.background_everywhere.mse is None
        assert record.summary.overall.images == 5_000
        assert record.seconds == {"background": 62.0, "objects": 100.0, "joint": 200.0}
        assert (record.provenance.machine, record.provenance.commit) == ("a machine", "abc1234")

    def test_a_folder_of_runs_and_each_run_once(self, make_run: Make) -> None:
        first, _ = make_run("clevr", 0), make_run("clevr", 1)
        results, _ = read_results([first.parent, first, first.parent / "." / first.name])
        assert [result.settings.seed for result in results] == [0, 1]

    def test_clevrtex_models_elsewhere(self, make_run: Make) -> None:
        results, _ = read_results([make_run("clevrtex", miou=0.7, ood=0.6)])
        assert [(result.dataset, result.record.summary.overall.miou) for result in results] == [
            ("clevrtex", 0.7),
            ("clevrtex-ood", 0.6),
        ]
        assert results[1].record.seconds == {}

    @pytest.mark.parametrize(
        ("said", "wrong"),
        [
            ({"model": "rooms"}, "model rooms, not clevrtex-seed-0"),
            ({"model": "elsewhere/model"}, "model elsewhere, not clevrtex-seed-0"),
            ({"split": "train"}, "split train, not test"),
            ({"label_rule": False}, "label_rule False, not True"),
        ],
    )
    def test_scores_of_something_else(self, make_run: Make, said: dict[str, Any], wrong: str) -> None:
        folder = make_run("clevrtex", ood=0.6)
        file = folder / "clevrtex-ood" / "scores.json"
        assert len(read_results([folder])[0]) == 2
        file.write_text(json.dumps({**json.loads(file.read_text()), "model": str(folder / "model")}))
        assert len(read_results([folder])[0]) == 2
        file.write_text(json.dumps({**json.loads(file.read_text()), **said}))
        with pytest.raises(AstSegError, match=wrong):
            read_results([folder])

    def test_folders_of_folders_of_runs(self, make_run: Make) -> None:
        runs = make_run("clevr").parent
        make_run("demo", name="table/demo-seed-0")
        for folder, count in ((runs, 2), (runs.parent, 1)):
            assert len(read_results([folder])[0]) == count

    def test_only_clevrtex_models_elsewhere(self, make_run: Make) -> None:
        results, _ = read_results([make_run("clevr", ood=0.6)])
        assert [result.dataset for result in results] == ["clevr"]

    def test_in_no_table(self, make_run: Make) -> None:
        results, _ = read_results([make_run("demo"), make_run(None), make_run("clevr")])
        assert [result.dataset for result in results] == [None, None, "clevr"]

    def test_unfinished(self, make_run: Make) -> None:
        done, begun = make_run("clevr", 0), make_run("clevr", 1, miou=None)
        results, unfinished = read_results([done, begun])
        assert len(results) == 1
        assert unfinished == [begun.resolve()]

    def test_no_run(self, tmp_path: Path) -> None:
        with pytest.raises(AstSegError, match="no training run"):
            read_results([tmp_path])

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"background_everywhere": 3}'])
    def test_damaged_scores(self, make_run: Make, content: str) -> None:
        folder = make_run("clevr")
        (folder / "scores.json").write_text(content)
        with pytest.raises(AstSegError, match=r"scores\.json"):
            read_results([folder])

    def test_a_model_without_background_has_no_error(self, make_run: Make) -> None:
        folder = make_run("clevr")
        record = read_scores(folder / "scores.json")
        summary = replace(record.summary, overall=replace(record.summary.overall, mse=None))
        write_scores(folder / "scores.json", replace(record, summary=summary))
        (result,), _ = read_results([folder])
        (group,) = group_results([result])
        assert group.estimate("mse") is None


class TestGrouping:
    def test_mean_and_sample_deviation(self, make_run: Make) -> None:
        runs = [make_run("clevr", seed, miou) for seed, miou in ((2, 0.9), (0, 0.6), (1, 0.6))]
        (group,) = group_results(read_results(runs)[0])
        assert group.seeds == (0, 1, 2)
        estimate = group.estimate("miou")
        assert estimate is not None
        assert estimate.mean == pytest.approx(0.7)
        assert estimate.deviation == pytest.approx(0.03**0.5)  # sqrt((0.2^2 + 0.1^2 + 0.1^2) / 2)

    def test_one_run_has_no_deviation(self, make_run: Make) -> None:
        (group,) = group_results(read_results([make_run("clevr")])[0])
        estimate = group.estimate("miou")
        assert estimate is not None
        assert estimate.deviation is None

    def test_times(self, make_run: Make) -> None:
        (group,) = group_results(read_results([make_run("clevr", 0), make_run("clevr", 2)])[0])
        background, foreground = group.seconds("background"), group.seconds("objects", "joint")
        assert background is not None
        assert foreground is not None
        assert (background.mean, foreground.mean) == (61.0, 300.0)
        assert group.seconds("painting") is None

    def test_other_recipes_data_and_presets_stay_apart(self, make_run: Make) -> None:
        other = DataDescription("x", "y", "clevr", (128, 128), {"test": 3})
        runs = [
            make_run("clevr-unet", 0),
            make_run("clevr", 0),
            make_run("clevr", 1, small=True),
            make_run("clevr", 2, data=other),
            make_run("demo"),
            make_run(None),
        ]
        groups = group_results(read_results(runs)[0])
        # In the presets' order, without a preset last.
        names = [group.first.settings.preset for group in groups]
        assert names == ["clevr", "clevr", "clevr", "clevr-unet", "demo", None]
        assert groups[-1].preset is None
