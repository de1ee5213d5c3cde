import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from astseg._core.errors import AstSegError
from astseg.data.store import Store
from astseg.training.config import Recipe
from astseg.training.diagnosis import Diagnosis, diagnose_run, judge_losses, write_diagnosis_page
from astseg.training.health import Judgment
from astseg.training.loggers import METRICS_FILE
from astseg.training.run import train_run
from astseg.training.run_folder import RunSettings

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(tiny_recipe: Recipe, shared_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run. Not to be changed."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train_run(folder, RunSettings("a <test>", tiny_recipe, str(shared_store.path)), CPU)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def write_losses(folder: Path, **courses: list[float]) -> None:
    folder.mkdir(exist_ok=True)
    lines = [
        {"step": step, "phase": phase, "phase_step": step, "seconds": 1.0, "total": loss, term: loss}
        for phase, losses in courses.items()
        for term in ["background" if phase == "background" else "reconstruction"]
        for step, loss in enumerate(losses, 1)
    ]
    (folder / METRICS_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_run_that_learned_next_to_nothing(run: Path) -> None:
    diagnosis = diagnose_run(run, CPU)
    assert diagnosis.title == "a <test>"
    assert {one.aspect for one in diagnosis.judgments} >= {"weights", "background", "empty slots"}
    assert len(diagnosis.samples) == 6
    assert all(sample.truth is not None for sample in diagnosis.samples)
    page = write_diagnosis_page(run, diagnosis)
    assert page == run / "diagnosis.html"
    text = page.read_text(encoding="utf-8")
    assert "a &lt;test&gt;" in text
    for judgment in diagnosis.judgments:
        assert judgment.finding.split(":")[0].split("'")[0] in text


def test_slots_of_a_run_that_has_just_begun_are_not_judged(
    tiny_recipe: Recipe, tiny_store: Store, tmp_path: Path
) -> None:
    steps = iter(range(100))
    settings = RunSettings("a test", tiny_recipe, str(tiny_store.path))
    train_run(tmp_path / "run", settings, CPU, stop=lambda: next(steps) == 4)
    diagnosis = diagnose_run(tmp_path / "run", CPU)
    assert {one.aspect for one in diagnosis.judgments} == {"weights", "background"}


def test_weights_that_are_not_finite(run: Path) -> None:
    file = run / "model" / "model.safetensors"
    weights = load_file(file)
    next(value for value in weights.values() if value.is_floating_point()).view(-1)[0] = torch.nan
    save_file(weights, file)  # without the checksum that would say that it is damaged
    diagnosis = diagnose_run(run, CPU)
    assert [one.aspect for one in diagnosis.problems] == ["weights"]
    assert "not finite" in diagnosis.problems[0].finding
    assert "lower learning rate" in write_diagnosis_page(run, diagnosis).read_text(encoding="utf-8")


def test_a_run_without_a_model(run: Path) -> None:
    (run / "model").rename(run / "gone")
    with pytest.raises(AstSegError, match="has no model yet"):
        diagnose_run(run, CPU)


@pytest.mark.parametrize(
    ("courses", "healthy"),
    [
        ({"background": [1.0] * 30, "objects": [1.0] * 30}, [True]),
        ({"objects": [1.0] * 20 + [9.0] * 10, "joint": [1.0] * 30}, [False]),
        ({"background": [1.0] * 20 + [9.0] * 10}, []),  # the robust loss may rise
        ({"background": [1.0] * 30, "objects": [1.0] * 20 + [9.0] * 10}, [False]),
        ({"objects": [1.0] * 5}, []),
        ({}, []),
    ],
)
def test_each_phase_has_a_loss_of_its_own(courses: dict[str, list[float]], healthy: list[bool], tmp_path: Path) -> None:
    write_losses(tmp_path / "run", **courses)
    assert [one.healthy for one in judge_losses(tmp_path / "run")] == healthy


def test_without_metrics_nothing_is_said_of_the_loss(tmp_path: Path) -> None:
    assert judge_losses(tmp_path) == []


@pytest.mark.parametrize(
    ("aspect", "expected"),
    [
        ("background", ["Input", "Background", "Difference"]),
        ("empty slots", ["Input", "Segmentation", "Slot 1", "Slot 2"]),
        ("shared slots", ["Input", "Segmentation", "Slot 1", "Slot 2"]),
        ("reconstruction", ["Input", "Reconstruction"]),
        ("loss", []),
    ],
)
def test_a_problem_is_shown_by_what_shows_it(run: Path, aspect: str, expected: list[str]) -> None:
    samples = diagnose_run(run, CPU).samples
    problem = Judgment(aspect, False, "A finding.", "An advice.")  # type: ignore[arg-type]
    text = write_diagnosis_page(run, Diagnosis("a test", [problem], samples)).read_text(encoding="utf-8")
    before = text.split("<h2>Some of the images</h2>")[0]
    assert "A finding." in before
    assert "An advice." in before
    assert re.findall(r'<th scope="col">([^<]*)</th>', before) == expected
    assert ('class="curve"' in before) is (aspect == "loss")
    assert text.count('class="curve"') == 1


def test_a_healthy_run_says_so(run: Path) -> None:
    diagnosis = diagnose_run(run, CPU)
    healthy = replace(diagnosis, judgments=[replace(one, healthy=True) for one in diagnosis.judgments])
    assert healthy.problems == []
    assert "No problem was found." in write_diagnosis_page(run, healthy).read_text(encoding="utf-8")
