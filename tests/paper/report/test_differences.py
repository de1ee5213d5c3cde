from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.paper.report.conftest import data_description

from astseg.evaluation.scores_file import DataDescription
from astseg.paper.report import Group, group_results, read_results
from astseg.paper.report.differences import data_mark, differences, recipe_changes, warning_marks
from astseg.training.execution import Execution
from astseg.training.presets import PRESETS
from astseg.training.run_folder import read_run, write_run

Make = Callable[..., Path]


def only(*runs: Path) -> Group:
    (group,) = group_results(read_results(runs)[0])
    return group


class TestMarks:
    def test_the_published_run_has_none(self, make_run: Make) -> None:
        assert warning_marks(only(make_run("clevr"))) == ()
        assert warning_marks(only(make_run(None))) == ()

    def test_a_miniature_of_a_look_alike(self, make_run: Make) -> None:
        assert warning_marks(only(make_run("clevrtex", small=True))) == ("MINIATURE", "LOOK-ALIKE")

    def test_another_recipe(self, changed_run: Make) -> None:
        assert warning_marks(only(changed_run("clevr", entropy_weight=0.5))) == ("OTHER RECIPE",)

    def test_fewer_steps(self, changed_run: Make) -> None:
        assert warning_marks(only(changed_run("clevr", steps=100_000))) == ("MINIATURE",)

    @pytest.mark.parametrize(
        ("dataset", "source", "name", "expected"),
        [
            ("objectsroom", "astseg scenes", "rooms", "LOOK-ALIKE"),
            ("shapestacks", "astseg scenes", "towers", "LOOK-ALIKE"),
            ("clevrtex-ood", "astseg scenes", "ood", "LOOK-ALIKE"),
            ("objectsroom", "astseg scenes", "towers", "OTHER DATA"),
            ("objectsroom", "files", "objectsroom", None),
            ("clevrtex-camo", "files", "clevrtex-camo", None),
            ("clevrtex", "files", "clevrtex-ood", "OTHER DATA"),
            ("clevr", "files", "clevr-png", None),
            ("clevr", "my images", None, "OTHER DATA"),
            (None, "my images", None, None),
        ],
    )
    def test_data(self, dataset: str | None, source: str, name: str | None, expected: str | None) -> None:
        assert data_mark(dataset, DataDescription(source, "a rule", name, (64, 64), {})) == expected


class TestRecipeChanges:
    def test_each_setting(self) -> None:
        published = PRESETS["clevr"].recipe
        ours = replace(published, backbone=None, foreground=replace(published.foreground, steps=40_000))
        assert recipe_changes(published, published) == []
        assert recipe_changes(ours, published) == [
            "foreground.steps 40000, published 125000",
            "backbone none, published nvidia/mit-b3",
        ]

    def test_a_group_that_only_one_recipe_has(self) -> None:
        recipe = PRESETS["clevr-cpu"].recipe
        without = replace(recipe, label_rule=None)
        assert "label_rule.object_error 3, published none" in recipe_changes(recipe, without)
        assert "label_rule.object_error none, published 3" in recipe_changes(without, recipe)

    def test_what_no_phase_reads_is_left_out(self) -> None:
        published = PRESETS["clevr-baseline"].recipe
        assert recipe_changes(replace(published, background=replace(published.background, steps=7)), published) == []
        assert (
            recipe_changes(replace(published, foreground=replace(published.foreground, frozen_steps=7)), published)
            == []
        )


class TestDifferences:
    def test_whose(self, make_run: Make) -> None:
        runs = [make_run(name, small=True) for name in ("clevrtex", "clevrtex-unet", "clevrtex-baseline")]
        topics = differences(group_results(read_results(runs)[0]))
        recipe = topics["Recipe"]
        assert "foreground.steps 300, published 125000 [all rows]" in recipe
        assert "architecture.feature_network compact-unet, published unet [clevrtex-unet]" in recipe
        assert "background.steps 150, published 500000 [all rows but clevrtex-baseline]" in recipe
        (data,) = topics["Data"]
        assert data.startswith("generated look-alikes, not the published images: astseg scenes; a rule; ")
        assert "40000 train, 5000 test; 5000 were scored, at 64x64" in data

    def test_as_published(self, make_run: Make) -> None:
        topics = differences([only(make_run("clevr", 0), make_run("clevr", 1))])
        assert topics["Recipe"] == ("the preset's, unchanged [all rows]",)
        assert topics["Data"][0].startswith("the published files: the files; a rule")
        assert topics["Runs"][0].startswith("2 with seeds 0, 1; published: 3")
        assert topics["Machine and commit"] == ("a machine; published: Nvidia RTX 3090; commit abc1234 [all rows]",)

    def test_a_seed_that_came_twice(self, make_run: Make) -> None:
        group = only(make_run("clevr", 1, name="a"), make_run("clevr", 1, name="b"), make_run("clevr", 0, name="c"))
        assert "NOTE: seed 1 occurs more than once" in differences([group])["Runs"][0]

    def test_rows_of_the_same_name_are_told_apart(self, make_run: Make) -> None:
        runs = [
            make_run(None, name=name, data=data_description(name, None, 64)) for name in ("photos", "drawings", "maps")
        ]
        data = differences(group_results(read_results(runs)[0]))["Data"]
        assert [line[line.index("[") :] for line in data] == [f"[None by hand ({place})]" for place in (1, 2, 3)]

    def test_runs_that_were_computed_otherwise_are_another_row(self, make_run: Make) -> None:
        folders = [make_run("clevr", 0), make_run("clevr", 1)]
        settings = read_run(folders[1])
        write_run(folders[1], replace(settings, execution=Execution("bf16", parts=4)), torch.device("cpu"))
        groups = group_results(read_results(folders)[0])
        assert [len(group.results) for group in groups] == [1, 1]
        assert "computed in bf16, batches in 4 parts [clevr (2)]" in differences(groups)["Recipe"]

    def test_own_images_with_a_recipe_of_their_own(self, make_run: Make) -> None:
        topics = differences([only(make_run(None))])
        assert topics["Data"][0].startswith("own data: ")
        assert topics["Recipe"] == ("a recipe of its own [all rows]",)
