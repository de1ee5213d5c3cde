from pathlib import Path

import pytest
import torch

from astseg.config import Recipe
from astseg.errors import AstSegError
from astseg.training.checkpoints import (
    Checkpoint,
    load_checkpoint,
    random_state,
    restore_random_state,
    save_checkpoint,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.pt"


def test_round_trip(tiny_recipe: Recipe, file: Path) -> None:
    checkpoint = Checkpoint(
        tiny_recipe, 7, 12, 2, 11, {"objects": 1.5}, {"weight": torch.arange(3.0)}, {"state": {0: {}}}, random_state()
    )
    save_checkpoint(checkpoint, file)
    loaded = load_checkpoint(file)
    assert loaded.recipe == tiny_recipe
    assert (loaded.seed, loaded.phase, loaded.step, loaded.seconds) == (7, 2, 11, {"objects": 1.5})
    assert torch.equal(loaded.model["weight"], torch.arange(3.0))
    assert loaded.optimizer == {"state": {0: {}}}
    assert torch.equal(loaded.random["cpu"], checkpoint.random["cpu"])


def test_a_checkpoint_of_version_1_is_read(tiny_recipe: Recipe, file: Path) -> None:
    save_checkpoint(Checkpoint(tiny_recipe, 0, 12), file)
    torch.save({**torch.load(file, weights_only=True), "version": 1}, file)
    assert load_checkpoint(file).recipe == tiny_recipe


def test_random_sources_go_on_as_if_nothing_had_happened() -> None:
    torch.manual_seed(3)
    state = random_state()
    expected = torch.rand(4)
    torch.rand(100)
    restore_random_state(state)
    assert torch.equal(torch.rand(4), expected)


class TestUnreadable:
    def test_none(self, file: Path) -> None:
        with pytest.raises(AstSegError, match=r"There is no checkpoint .*checkpoint\.pt to resume from"):
            load_checkpoint(file)

    @pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04broken"])
    def test_damaged(self, file: Path, content: bytes) -> None:
        file.write_bytes(content)
        with pytest.raises(AstSegError, match=r"checkpoint\.pt is no readable checkpoint: ."):
            load_checkpoint(file)

    def test_cut_short(self, tiny_recipe: Recipe, file: Path) -> None:
        save_checkpoint(Checkpoint(tiny_recipe, 0, 12, model={"weight": torch.rand(1000)}), file)
        file.write_bytes(file.read_bytes()[:-500])
        with pytest.raises(AstSegError, match="is no readable checkpoint"):
            load_checkpoint(file)

    @pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {"model": {}}, {"version": 1, "recipe": {}}])
    def test_of_another_program(self, file: Path, content: object) -> None:
        torch.save(content, file)
        with pytest.raises(AstSegError, match="is no readable checkpoint"):
            load_checkpoint(file)

    def test_of_another_version(self, file: Path) -> None:
        torch.save({"version": 99}, file)
        with pytest.raises(AstSegError, match="is a checkpoint of another version of astseg"):
            load_checkpoint(file)

    def test_that_would_run_code(self, file: Path) -> None:
        class Evil:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return print, ("executed",)

        torch.save({"version": 1, "recipe": Evil()}, file)
        with pytest.raises(AstSegError, match="is no readable checkpoint"):
            load_checkpoint(file)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0\nat")])
def test_a_full_disk_leaves_the_older_checkpoint(
    tiny_recipe: Recipe, file: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    save_checkpoint(Checkpoint(tiny_recipe, 7, 12), file)

    def fail(content: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(AstSegError, match=r"Cannot write .*checkpoint\.pt: (No space left|unexpected pos 64 vs 0\.$)"):
        save_checkpoint(Checkpoint(tiny_recipe, 8, 12), file)
    monkeypatch.undo()
    assert load_checkpoint(file).seed == 7
    assert [path.name for path in file.parent.iterdir()] == ["checkpoint.pt"]
