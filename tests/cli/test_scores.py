from dataclasses import replace

import pytest

from astseg.cli._scores import print_scores
from astseg.evaluation.evaluator import Means, ScoreSummary

MEANS = Means(images=4, miou=0.5, ari_fg=0.25, ari=0.125, msc_fg=0.75, msc=0.625, scaled_sc=0.5, mse=12.34)
SUMMARY = ScoreSummary(
    overall=MEANS,
    by_objects={1: replace(MEANS, images=1), 2: replace(MEANS, images=3)},
    two_or_more_objects=replace(MEANS, images=3),
    background_everywhere=replace(MEANS, mse=None),
    images_without_foreground=0,
    images_with_more_objects_than_slots=0,
    num_slots=3,
    protocol="4 images of the split 'test[red]'.",
)


def test_percent_by_number_of_objects(capsys: pytest.CaptureFixture[str]) -> None:
    print_scores(SUMMARY)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["images", "mIoU", "ARI-FG", "ARI", "MSC-FG", "MSC", "MSE"]
    assert lines[1].split() == ["all", "4", "50.00", "25.00", "12.50", "75.00", "62.50", "12.3"]
    titles = ["2 or more objects", "1 object", "2 objects", "background everywhere"]
    assert [line.split("  ")[0] for line in lines[2:6]] == titles
    assert lines[5].split()[-1] == "-"
    assert lines[6:] == [SUMMARY.protocol]


def test_notes(capsys: pytest.CaptureFixture[str]) -> None:
    without_two = replace(SUMMARY, two_or_more_objects=None)
    print_scores(replace(without_two, images_without_foreground=2, images_with_more_objects_than_slots=1))
    out = capsys.readouterr().out
    assert "Note 1 image with more objects" in out
    assert "(K = 3)" in out
    assert "Note 2 images without any object" in out
    assert "2 or more" not in out
