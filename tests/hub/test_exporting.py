import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from astseg._core.errors import AstSegError
from astseg._core.settings_io import override
from astseg._core.text import escape_markdown
from astseg.data.store import Store
from astseg.data.store_writer import StoreWriter
from astseg.evaluation.evaluator import evaluate
from astseg.hub import exporting
from astseg.hub.exporting import export_model
from astseg.hub.loading import load_model
from astseg.training.config import Recipe
from astseg.training.run import train_run
from astseg.training.run_folder import RunSettings, trained_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def settings(tiny_recipe: Recipe, shared_store: Store) -> RunSettings:
    return RunSettings("Squares in a test", tiny_recipe, str(shared_store.path), seed=3, preset="demo")


@pytest.fixture(scope="module")
def trained(settings: RunSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run. Not to be changed."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train_run(folder, settings, CPU)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_weights_are_halved_and_nothing_else(run: Path, tmp_path: Path) -> None:
    export_model(run, tmp_path / "out", CPU)
    whole, halved = (load_file(folder / "model.safetensors") for folder in (run / "model", tmp_path / "out"))
    assert whole.keys() == halved.keys()
    for name, weights in whole.items():
        if weights.is_floating_point():
            assert halved[name].dtype == torch.float16
            assert (halved[name] == weights.half()).all()
        else:
            assert (halved[name] == weights).all()
    model = load_model(tmp_path / "out")
    assert model.architecture == trained_model(run).architecture
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_the_card_tells_where_it_comes_from(run: Path, settings: RunSettings, tmp_path: Path) -> None:
    calls = []
    scores = export_model(run, tmp_path / "out", CPU, lambda *done: calls.append(done))
    assert scores is not None
    expected = evaluate(load_model(tmp_path / "out"), Store(settings.data)["test"]).summary()
    assert scores == expected
    assert calls == [(4, 4)] * 2  # whole and halved
    card = (tmp_path / "out/README.md").read_text()
    for part in (
        "# Squares in a test",
        "demo, changed: ",
        "foreground.steps 6, ",
        "background 3, batches of 4; objects 6, batches of 4 (curriculum)",
        "32 x 32, up to K = 2 objects",
        f"| all | 4 | {100 * expected.overall.miou:.1f} | {100 * expected.overall.ari_fg:.1f} |",
        "before halving",
        "background everywhere",
        escape_markdown(expected.protocol),
        torch.__version__,
    ):
        assert part in card
    assert "Not finished" not in card


def test_what_comes_from_files_has_no_meaning_in_a_card(run: Path, tmp_path: Path) -> None:
    content = json.loads((run / "run.json").read_text())
    content["title"] = "[x](http://evil)\n\n# <b>"
    content["provenance"]["machine"] = "a|b <script>\x1b[31m"
    (run / "run.json").write_text(json.dumps(content))
    export_model(run, tmp_path / "out", CPU)
    card = (tmp_path / "out/README.md").read_text()
    assert r"# [x\](http\://evil)\\n\\n# \<b\>" in card.splitlines()
    assert r"| Machine | a\|b \<script\>\\x1b[31m |" in card.splitlines()
    content["provenance"] = [1]
    (run / "run.json").write_text(json.dumps(content))
    export_model(run, tmp_path / "again", CPU)


def test_the_card_of_a_run_that_was_stopped_says_so(settings: RunSettings, tmp_path: Path) -> None:
    asked = iter(range(100))
    assert not train_run(tmp_path / "run", settings, CPU, stop=lambda: next(asked) == 4)
    export_model(tmp_path / "run", tmp_path / "out", CPU)
    card = (tmp_path / "out/README.md").read_text()
    assert "| **Not finished** | trained up to step " in card


def test_a_place_that_is_taken_is_refused_before_anything_is_scored(run: Path, tmp_path: Path) -> None:
    with pytest.raises(AstSegError, match="exists already"):
        export_model(run, run, CPU, lambda *_: pytest.fail("scored"))


def test_images_without_truth_have_no_scores(settings: RunSettings, tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "data", (32, 32), "s", "p") as writer, writer.split("train") as split:
        split.append(np.zeros((4, 32, 32, 3), np.uint8))
    plain = replace(settings, data=str(tmp_path / "data"), preset=None)
    train_run(tmp_path / "run", plain, CPU)
    (tmp_path / "run/metrics.jsonl").unlink()
    assert export_model(tmp_path / "run", tmp_path / "out", CPU) is None
    card = (tmp_path / "out/README.md").read_text()
    assert "Scores" not in card
    assert "the owner's images: 4 train" in card
    assert "of its own, seed 3" in card
    assert "not recorded" in card


def test_other_data_in_its_place_is_refused(run: Path, settings: RunSettings, tmp_path: Path) -> None:
    shutil.copytree(settings.data, run / "data")
    with StoreWriter(tmp_path / "other", (32, 32), "s", "p") as writer, writer.split("train") as split:
        split.append(np.zeros((4, 32, 32, 3), np.uint8))
    shutil.rmtree(run / "data")
    shutil.move(tmp_path / "other", run / "data")
    with pytest.raises(AstSegError, match=r"was trained on other images than .*data holds now"):
        export_model(run, tmp_path / "out", CPU)


def test_the_card_says_what_a_run_began_with(trained: Path, settings: RunSettings, tmp_path: Path) -> None:
    train_run(tmp_path / "run", replace(settings, model=str(trained)), CPU, model=load_model(trained))
    export_model(tmp_path / "run", tmp_path / "out", CPU)
    begun = f"| Begun with | the trained model {escape_markdown(str(trained))} |"
    assert begun in (tmp_path / "out/README.md").read_text()


def test_the_data_must_be_there(run: Path, settings: RunSettings, tmp_path: Path) -> None:
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**content, "data": str(tmp_path / "gone")}))
    with pytest.raises(AstSegError, match="no longer in"):
        export_model(run, tmp_path / "out", CPU)
    assert not (tmp_path / "out").exists()
    shutil.copytree(settings.data, run / "data")  # it has moved with the run
    assert export_model(run, tmp_path / "out", CPU) is not None


@pytest.mark.parametrize(
    ("scenario", "steps"),
    [
        ("background", "background 3, batches of 4"),
        ("baseline", "objects 6, batches of 4 (baseline)"),
        ("frozen", "background 3, batches of 4; objects 6, batches of 4 (frozen)"),
    ],
)
def test_the_card_names_the_steps_that_were_made(settings: RunSettings, scenario: str, steps: str) -> None:
    recipe = override(settings.recipe, {"foreground.scenario": scenario})
    assert exporting._steps(replace(settings, recipe=recipe)) == steps
