import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from astseg.config import Recipe
from astseg.errors import UserError
from astseg.model.ast_seg import AstSeg
from astseg.pretrained import SHIPPED, load_model, shipped_models


@pytest.fixture
def run(tiny_recipe: Recipe, tmp_path: Path) -> Path:
    AstSeg(tiny_recipe.architecture).save_pretrained(tmp_path / "run/model")
    return tmp_path / "run"


@pytest.mark.parametrize("inside", ["", "model"])
def test_from_a_run_or_a_model_folder(run: Path, inside: str) -> None:
    for where in (run / inside, str(run / inside)):
        model = load_model(where)
        assert model.slots == 2
        assert not model.training


class TestShipped:
    @pytest.mark.parametrize("name", shipped_models())
    def test_can_be_loaded_by_name(self, name: str) -> None:
        model = load_model(name)
        assert not model.training
        found = model.segment(torch.rand(1, 3, *model.image_size))
        assert found.labels.max() <= model.slots

    @pytest.mark.parametrize("name", shipped_models())
    def test_are_small_and_say_where_they_come_from(self, name: str) -> None:
        folder = SHIPPED / name
        assert (folder / "model.safetensors").stat().st_size < 8e6
        card = (folder / "README.md").read_text()
        for part in ("Data", "seed", "Steps", "Time", "Machine", "Commit", "ARI-FG", "background everywhere"):
            assert part in card

    def test_a_folder_goes_first(self, run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        name = shipped_models()[0]
        run.rename(tmp_path / name)
        assert load_model(name).image_size == (32, 32)

    def test_a_folder_without_a_model_does_not_hide_them(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        name = shipped_models()[0]
        (tmp_path / name).mkdir()
        assert load_model(name).architecture == load_model(SHIPPED / name).architecture

    def test_are_named_where_one_is_not_found(self) -> None:
        with pytest.raises(UserError, match=f"models that come with astseg: {', '.join(shipped_models())}"):
            load_model("no-such-model")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no model: neither config\.json nor model/config\.json is there"):
        load_model(tmp_path)


def test_a_file(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"")
    with pytest.raises(UserError, match="holds no model"):
        load_model(tmp_path / "picture.png")


def test_a_damaged_model_is_named(run: Path) -> None:
    (run / "model/config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json does not describe an astseg model"):
        load_model(run)


def test_a_name_that_cannot_be_one() -> None:
    with pytest.raises(UserError, match="There is no model 'no/such/folder': no such folder, and none of that name"):
        load_model("no/such/folder")


def test_a_name_without_an_owner_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AstSeg, "from_pretrained", lambda *_: pytest.fail("asked the hub"))
    with pytest.raises(UserError, match=r"There is no model 'my-run': no such folder\. Give the folder"):
        load_model("my-run")


@pytest.mark.parametrize(
    "error",
    [
        LocalEntryNotFoundError("offline"),
        OSError("no network"),
        HfHubHTTPError("404", response=SimpleNamespace(headers={}, request=None, status_code=404)),
    ],
)
def test_a_name_that_the_hub_does_not_give(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(where: str) -> None:
        raise error

    monkeypatch.setattr(AstSeg, "from_pretrained", fail)
    with pytest.raises(UserError, match="There is no model 'someone/something'"):
        load_model("someone/something")


def test_a_model_without_segformer_is_loaded_without_transformers() -> None:
    code = (
        "import sys; from astseg.pretrained import load_model; load_model('rooms'); "
        "assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
