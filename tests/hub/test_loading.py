import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from PIL import Image

from astseg._core.errors import AstSegError
from astseg.cli import _console as console
from astseg.cli import app
from astseg.hub import loading
from astseg.hub.loading import load_model
from astseg.hub.names import SHIPPED_MODELS, list_models
from astseg.model.ast_seg import AstSeg
from astseg.training.config import Recipe

Answer = Callable[[BaseHTTPRequestHandler], object]


@pytest.fixture
def run(tiny_recipe: Recipe, tmp_path: Path) -> Path:
    AstSeg(tiny_recipe.architecture).save_pretrained(tmp_path / "run/model")
    return tmp_path / "run"


@pytest.mark.parametrize("inside", ["", "model"])
def test_from_a_run_or_a_model_folder(run: Path, inside: str) -> None:
    for where in (run / inside, str(run / inside)):
        model = load_model(where)
        assert model.num_slots == 2
        assert not model.training


class TestShipped:
    @pytest.mark.parametrize("name", list_models())
    def test_can_be_loaded_by_name(self, name: str) -> None:
        model = load_model(name)
        assert not model.training
        found = model.segment(torch.rand(1, 3, *model.image_size))
        assert found.labels.max() <= model.num_slots

    @pytest.mark.parametrize("name", list_models())
    def test_are_small_and_say_where_they_come_from(self, name: str) -> None:
        folder = SHIPPED_MODELS / name
        assert (folder / "model.safetensors").stat().st_size < 8e6
        card = (folder / "README.md").read_text()
        for part in ("Data", "seed", "Steps", "Time", "Machine", "Commit", "ARI-FG", "background everywhere"):
            assert part in card

    def test_a_folder_goes_first(self, run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        name = list_models()[0]
        run.rename(tmp_path / name)
        said: list[str] = []
        assert load_model(name, said.append).image_size == (32, 32)
        assert said == [f"The folder {name} is read; a model of that name comes with astseg, too."]

    def test_a_folder_without_a_model_does_not_hide_them(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        name = list_models()[0]
        (tmp_path / name).mkdir()
        assert load_model(name, pytest.fail).architecture == load_model(SHIPPED_MODELS / name).architecture

    def test_are_named_where_one_is_not_found(self) -> None:
        with pytest.raises(AstSegError, match=", ".join(list_models())):
            load_model("no-such-model")


def test_a_folder_or_a_file_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"")
    for where in (tmp_path, tmp_path / "image.png"):
        with pytest.raises(AstSegError, match="holds no model"):
            load_model(where)


def test_what_can_name_no_folder() -> None:
    with pytest.raises(AstSegError, match=r"Cannot look for a model in xxx.*: File name too long"):
        load_model(3000 * "x")
    for wrong in (None, 3, b"rooms", ["rooms"]):
        with pytest.raises(TypeError, match="a model's folder or name should be a path, not a"):
            load_model(wrong)  # type: ignore[arg-type]


def test_a_damaged_model_is_named(run: Path) -> None:
    (run / "model/config.json").write_text("{")
    with pytest.raises(AstSegError, match=r"config\.json"):
        load_model(run)


@pytest.mark.parametrize(
    "name", ["no/such/folder", "./runs/first", "/runs/first", "runs/first/", "my runs/first", "my-run"]
)
def test_what_is_no_name_on_the_hub_is_not_asked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AstSeg, "from_pretrained", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(AstSegError, match=f"no model '{name}'"):
        load_model(name)


def test_a_model_without_segformer_is_loaded_without_transformers() -> None:
    code = (
        "import sys; from astseg.hub.loading import load_model; load_model('rooms'); "
        "assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@contextmanager
def hub(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """A local server in place of the hub: its address, and the paths that are requested."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            answer(self)

        def do_GET(self) -> None:
            self.do_HEAD()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()


def status(code: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in {**headers, "Content-Length": "0"}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return answer


def files_of(folder: Path) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.rpartition("/")[2]
        content = (folder / name).read_bytes()
        handler.send_response(200)
        sent = {"Content-Length": len(content), "ETag": f'"{name}"', "X-Repo-Commit": 40 * "a"}
        for header, value in sent.items():
            handler.send_header(header, str(value))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(content)

    return answer


def ask_at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do as HF_ENDPOINT does, which is only read when the hub's library is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")


class TestHub:
    @pytest.fixture(autouse=True)
    def _elsewhere(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(loading, "HUB_TIMEOUT", 1.0)
        monkeypatch.chdir(tmp_path)

    @staticmethod
    def refused(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
        """The error for a model that the hub at an address does not give, which must come soon."""
        ask_at(address, monkeypatch)
        started = time.monotonic()
        with pytest.raises(AstSegError) as error:
            load_model("runs/first")
        assert time.monotonic() - started < 10
        assert str(error.value).startswith("There is no folder 'runs/first', and ")
        return str(error.value)

    def test_that_refuses_to_connect(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with hub(status(404)) as (address, _):
            pass  # its port is free by now
        assert f"{address} was not reached (" in self.refused(address, monkeypatch)

    def test_that_hangs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        over = threading.Event()
        with hub(lambda _: over.wait(20)) as (address, _):
            said = self.refused(address, monkeypatch)
            over.set()
        assert "was not reached (" in said

    def test_whose_address_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "was not reached (unknown url type" in self.refused("hub.example.invalid", monkeypatch)

    def test_that_is_no_web_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:

            def answer() -> None:
                connection, _ = server.accept()
                with connection:
                    connection.recv(1 << 12)
                    connection.sendall(b"SSH-2.0-nothing\r\n")

            threading.Thread(target=answer, daemon=True).start()
            said = self.refused(f"http://127.0.0.1:{server.getsockname()[1]}", monkeypatch)
        assert "was not reached (" in said
        assert "no answer within" not in said

    def test_whose_name_cannot_be_looked_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def look_up(*_: object, **__: object) -> None:
            time.sleep(2)
            raise OSError("no such host")

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        assert "(no answer within 1 seconds)" in self.refused("http://nowhere.invalid", monkeypatch)

    def test_that_is_broken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with hub(status(503)) as (address, _):
            assert f"{address} answers with error 503" in self.refused(address, monkeypatch)

    @pytest.mark.parametrize(
        ("code", "kind", "message"),
        [
            (401, "RepoNotFound", "no model of that name. Give the folder"),
            (404, "RepoNotFound", "no model of that name. Give the folder"),
            (404, "EntryNotFound", "is not an astseg model"),
            (403, "GatedRepo", "login"),
            (400, "", "could not be used"),
        ],
    )
    def test_that_refuses(self, code: int, kind: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with hub(status(code, X_Error_Code=kind, X_Repo_Commit=40 * "a")) as (address, asked):
            assert message in self.refused(address, monkeypatch)
        assert set(asked) == {"/runs/first/resolve/main/config.json"}

    @pytest.mark.parametrize("content", [b"[1]", b"\xff\xfe", b"{}"])
    def test_that_has_a_damaged_one(self, run: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
        file = run / "model/config.json"
        file.write_bytes(content)
        with hub(files_of(file.parent)) as (address, _):
            ask_at(address, monkeypatch)
            with pytest.raises(AstSegError, match=r"config\.json does not describe an astseg model"):
                load_model("someone/something")

    def test_that_has_one_that_an_editor_has_saved(self, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = run / "model/config.json"
        file.write_text(file.read_text(), encoding="utf-8-sig")
        with hub(files_of(file.parent)) as (address, _):
            ask_at(address, monkeypatch)
            assert load_model("someone/something").num_slots == 2

    def test_that_breaks_off(self, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            (files_of(run / "model") if handler.command == "HEAD" else status(403))(handler)

        with hub(answer) as (address, _):
            assert "could not be loaded" in self.refused(address, monkeypatch)

    def test_that_may_not_be_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with hub(status(404)) as (address, asked):
            assert "it was not asked, since HF_HUB_OFFLINE is set" in self.refused(address, monkeypatch)
        assert not asked

    def test_that_has_it_and_later_is_away(self, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with hub(files_of(run / "model")) as (address, _):
            ask_at(address, monkeypatch)
            model = load_model("someone/something")
        again = load_model("someone/something")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        for other in (again, load_model("someone/something")):
            assert torch.equal(other.background_log_activation, model.background_log_activation)
            assert other.architecture == model.architecture

    def test_the_command_line_says_that_it_asks(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Image.new("RGB", (8, 8)).save("a.png")
        with hub(status(404, X_Error_Code="RepoNotFound")) as (address, _):
            ask_at(address, monkeypatch)
            assert console.run(app, ["segment", "runs/first", "a.png"]) == 2
        asking, error = capsys.readouterr().err.splitlines()[:2]
        assert "asking the model hub" in asking
        assert error.startswith("Error: There is no folder 'runs/first', and the model hub has no model")


def test_a_mistyped_path_is_not_asked_of_the_hub(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent.parent)
    monkeypatch.setattr(loading, "_from_hub", lambda name: pytest.fail("the hub was asked"))
    folder = run.parent.name
    with pytest.raises(AstSegError, match=f"no 'rum' in the folder {folder}. Did you mean '{folder}/run'"):
        load_model(f"{folder}/rum")
    with pytest.raises(AstSegError, match=r"no 'zzzzz' in the folder [^?]*hub is not asked"):
        load_model(f"{folder}/zzzzz")


def test_the_hub_is_not_asked_without_a_word(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(loading, "_unreached", lambda name: "no server in this test")
    with pytest.raises(AstSegError, match="no server in this test"):
        load_model("nobody-there/no-model")
    assert "There is no folder nobody-there/no-model; asking the model hub" in caplog.text
