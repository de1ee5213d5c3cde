from pathlib import Path

import numpy as np
import pytest

from astseg.visualization.diagnosis_page import (
    DiagnosisPage,
    ShownFinding,
    difference_panel,
    render_diagnosis,
    write_diagnosis,
)
from astseg.visualization.gallery import VisualizationSample

LABELS = np.zeros((160, 2), np.uint8)


def test_the_difference_is_doubled_and_that_of_the_farthest_channel() -> None:
    image, background = np.zeros((160, 2, 3), np.uint8), np.zeros((160, 2, 3), np.uint8)
    image[0, 0], background[0, 0] = (10, 200, 0), (20, 200, 5)
    image[0, 1], background[0, 1] = (0, 255, 0), (255, 0, 0)
    panel = difference_panel(VisualizationSample(image, LABELS, background=background))
    assert panel.image[0, 0].tolist() == [20, 20, 20]
    assert panel.image[0, 1].tolist() == [255, 255, 255]
    assert not panel.image[1:].any()


@pytest.mark.parametrize(
    ("problems", "words"), [(0, "No problem was found."), (1, "One problem was found."), (3, "3 problems were found.")]
)
def test_problems_are_counted_and_come_first(problems: int, words: str) -> None:
    findings = [ShownFinding("Fine", True, "All is well <b>.")]
    findings += [ShownFinding(f"Aspect {number}", False, "It is wrong.", "Try & see.") for number in range(problems)]
    text = render_diagnosis(DiagnosisPage("A title", findings))
    assert words in text
    assert "All is well &lt;b&gt;." in text
    assert text.count("Try &amp; see.") == problems
    assert all(text.index(f"Aspect {number}") < text.index("What is well") for number in range(problems))
    assert "<img" not in text


def test_a_model_without_a_background_has_no_difference() -> None:
    samples = [VisualizationSample(np.zeros((160, 2, 3), np.uint8), LABELS)]
    findings = [ShownFinding("Background", False, "x", "y", ("Input", "Difference"))]
    text = render_diagnosis(DiagnosisPage("A title", findings, samples))
    assert "Difference" not in text
    assert "Input of image 1" in text


def test_is_written_as_one_file(tmp_path: Path) -> None:
    write_diagnosis(tmp_path / "d.html", DiagnosisPage("A title", []))
    text = (tmp_path / "d.html").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "http" not in text
