"""How commands load models, and what they say of those that were not trained to the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.cli.conftest import Program, ctrl_c_after

from astseg import load_model
from astseg.cli._models import open_model, open_segmenter
from astseg.data.scenes import make_store

pytestmark = pytest.mark.usefixtures("few_steps")


@pytest.mark.parametrize(
    ("command", "steps", "run", "remedy"),
    [
        ("train", 1, "made", "It stopped at step 0 of 4 of the phase 'objects'. Resume it by 'astseg train --resume'."),
        ("background", 1, "made/run", ""),
        ("background", 0, "made/run", ""),
    ],
)
def test_a_model_of_the_background_alone(
    command: str, steps: int, run: str, remedy: str, astseg: Program, rooms: Path, tmp_path: Path
) -> None:
    length = ("--minutes", 1e-4) if command == "background" else ("--steps", 4)
    with ctrl_c_after(steps):
        code = astseg(command, rooms, *length, "--device", "cpu", "--out", tmp_path / "made")
    assert code == (130 if steps else 0)
    model = tmp_path / run
    for user in (("segment", model, rooms), ("evaluate", model, rooms), ("export", model), ("gallery", model, rooms)):
        message = astseg.mistake(*user, "--out", tmp_path / "out.png")
        assert "only the background" in message
        assert message.endswith(remedy or "finds no objects.")
    assert not (tmp_path / "out.png").exists()


def test_a_model_of_an_unfinished_run(astseg: Program, rooms: Path, tmp_path: Path) -> None:
    run = tmp_path / "run [red]"
    with ctrl_c_after(2):
        assert astseg("train", rooms, "--steps", 4, "--device", "cpu", "--out", run) == 130
    for command in (("segment", run, rooms), ("export", run)):
        assert astseg(*command, "--out", tmp_path / command[0]) == 0
        note = f"Note {run} is not finished: its model stopped at step 1 of "
        assert note in " ".join(astseg.err.split())


class TestOpenSegmenter:
    @pytest.fixture(autouse=True)
    def _denormal_numbers(self) -> Iterator[None]:
        yield
        torch.set_flush_denormal(False)

    def flushed(self) -> bool:
        return not torch.full((3,), 2.0**-140).mul(1).any()

    def test_denormal_numbers_are_zeros_only_where_nothing_is_trained(self) -> None:
        open_model("rooms", torch.device("cpu"))
        assert not self.flushed()
        open_segmenter("rooms", torch.device("cpu"))
        assert self.flushed()

    @pytest.mark.parametrize("name", ["rooms", "clevr"])
    def test_labels_are_those_with_denormal_numbers(self, name: str, tmp_path: Path) -> None:
        images = list(make_store(tmp_path / "scenes", name, {"test": 4}, 3, 128, workers=1)["test"].images)
        expected = load_model(name).segment(images)
        found = open_segmenter(name, torch.device("cpu")).segment(images)
        torch.testing.assert_close(found.labels, expected.labels, rtol=0, atol=0)
        torch.testing.assert_close(found.appearances, expected.appearances)
