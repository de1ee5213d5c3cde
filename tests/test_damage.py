"""One flipped bit, anywhere in what astseg keeps: the result is the same, or an error says what is damaged."""

import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from astseg._core.errors import AstSegError, DamagedCheckpointError
from astseg._core.settings_io import override
from astseg.data.store import Bytes, Store
from astseg.model.ast_seg import AstSeg
from astseg.training.callbacks import Callback
from astseg.training.config import Recipe
from astseg.training.loop import Trainer
from astseg.training.state import TrainState

CPU = torch.device("cpu")
TRIES = 60


class Listener(Callback):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def on_note(self, text: str) -> None:
        self.notes.append(text)


def flipped_bits(file: Path, tries: int = TRIES, seed: int = 0, last: int | None = None) -> Iterator[int]:
    """Flip random bits of a file, one after the other, in all of it or its last bytes; yield the number of each."""
    content = file.read_bytes()
    random = np.random.default_rng(seed)
    first = 0 if last is None else max(0, 8 * (len(content) - last))
    for bit in random.integers(first, 8 * len(content), tries).tolist():
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        file.write_bytes(damaged)
        yield bit
    file.write_bytes(content)


def weights(model: AstSeg) -> dict[str, torch.Tensor]:
    return model.state_dict()


def equal(first: AstSeg, second: AstSeg) -> bool:
    one, other = weights(first), weights(second)
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def whole(tiny_recipe: Recipe, tiny_images: Bytes, tmp_path_factory: pytest.TempPathFactory) -> AstSeg:
    """The model of a run that nothing happened to."""
    trainer = Trainer(tiny_recipe, tiny_images, tmp_path_factory.mktemp("whole"), CPU, seed=3)
    assert trainer.run()
    return trainer.model


@pytest.fixture(scope="module")
def stopped_once(tiny_recipe: Recipe, tiny_images: Bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped after two steps of the objects, with two checkpoints. Not to be changed."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    trainer = Trainer(tiny_recipe, tiny_images, folder, CPU, seed=3)
    while not (trainer.state.phase.name == "objects" and trainer.state.step == 2):
        trainer.run(lambda: True)
    return folder


@pytest.fixture
def stopped(stopped_once: Path, tmp_path: Path) -> Path:
    """A copy of this run."""
    return Path(shutil.copytree(stopped_once, tmp_path / "run"))


def resumed(folder: Path, images: Bytes) -> tuple[Trainer, list[str]]:
    listener = Listener()
    return Trainer.resume(images, folder, CPU, [listener]), listener.notes


class TestCheckpoints:
    # The end of the file is where its parts are listed, which no checksum covers.
    @pytest.mark.parametrize("last", [None, 20_000])
    def test_a_flipped_bit_is_found_or_means_nothing(self, stopped: Path, last: int | None) -> None:
        file = stopped / "checkpoint.pt"
        good = TrainState.load(file, CPU)
        damaged = 0
        for bit in flipped_bits(file, last=last):
            try:
                found = TrainState.load(file, CPU)
            except DamagedCheckpointError:
                damaged += 1
                continue
            assert equal(found.model, good.model), bit
            assert (found.seed, found.step, found.phase_index, found.data) == (3, 2, 1, good.data), bit
            moments = [state.start_phase().state_dict()["state"] for state in (found, good)]
            assert all(
                torch.equal(value, moments[1][number][name])
                for number, values in moments[0].items()
                for name, value in values.items()
            ), bit
        assert damaged > TRIES / 4

    def test_one_of_an_older_version_is_checked_by_its_parts(self, stopped: Path) -> None:
        file = stopped / "checkpoint.pt"
        whole = file.read_bytes()
        content = bytearray(whole[: whole.rindex(b"\nastseg-crc32 ")])
        file.write_bytes(content)
        assert TrainState.load(file, CPU).step == 2
        listed = content.rindex(b"/data/13")  # the list of the parts is at the end
        for byte in (listed + 7, len(content) // 2):  # a name becomes that of another part; the content changes
            content[byte] ^= 1
            file.write_bytes(content)
            with pytest.raises(DamagedCheckpointError):
                TrainState.load(file, CPU)
            content[byte] ^= 1

    def test_the_checksum_is_at_the_end(self, stopped: Path) -> None:
        content = (stopped / "checkpoint.pt").read_bytes()
        rest, total = content.split(b"\nastseg-crc32 ")
        assert f"{zlib.crc32(rest):08x}".encode() == total

    def test_a_damaged_one_is_resumed_from_the_one_before(
        self, stopped: Path, tiny_images: Bytes, whole: AstSeg
    ) -> None:
        file = stopped / "checkpoint.pt"
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 4
        file.write_bytes(content)
        trainer, notes = resumed(stopped, tiny_images)
        assert trainer.state.step == 1
        (note,) = notes
        assert "not a readable checkpoint" in note
        assert "step 1 of 3 of the phase 'objects'" in note
        assert (stopped / "checkpoint.damaged.pt").read_bytes() == content
        assert trainer.run()
        assert equal(trainer.model, whole)
        again, notes = resumed(stopped, tiny_images)
        assert (again.state.finished, notes) == (True, [])

    def test_the_newest_is_gone(self, stopped: Path, tiny_images: Bytes, whole: AstSeg) -> None:
        (stopped / "checkpoint.pt").unlink()
        trainer, (note,) = resumed(stopped, tiny_images)
        assert "is missing" in note
        assert trainer.run()
        assert equal(trainer.model, whole)

    def test_both_are_damaged(self, stopped: Path, tiny_images: Bytes) -> None:
        for name in ("checkpoint.pt", "checkpoint.previous.pt"):
            (stopped / name).write_bytes(b"nothing")
        with pytest.raises(AstSegError, match=r"checkpoint\.pt.*checkpoint\.previous\.pt.*Start a new run"):
            Trainer.resume(tiny_images, stopped, CPU)

    def test_one_of_an_older_version_says_nothing_of_its_data(self, stopped: Path, tiny_images: Bytes) -> None:
        content = torch.load(stopped / "checkpoint.pt", weights_only=True)
        del content["data"]
        torch.save(content, stopped / "checkpoint.pt")
        trainer, notes = resumed(stopped, 255 - tiny_images)
        assert notes == []
        assert trainer.run(), "as it did before"


class TestExchangedData:
    @pytest.mark.parametrize("change", ["others", "bit", "half zeros"])
    def test_is_refused(self, stopped: Path, tiny_images: Bytes, change: str) -> None:
        others = tiny_images.copy()
        if change == "others":
            others = 255 - others
        elif change == "bit":
            others[7, 1, 2, 0] ^= 1
        else:
            others[6:] = 0
        with pytest.raises(AstSegError, match="other images of the same number and size"):
            Trainer.resume(others, stopped, CPU)


class TestBackgrounds:
    @pytest.mark.parametrize("name", ["backgrounds.npy", "backgrounds.crc32"])
    def test_damaged_ones_are_painted_again(
        self, stopped: Path, tiny_images: Bytes, whole: AstSeg, name: str, tmp_path: Path
    ) -> None:
        painted = (stopped / "backgrounds.npy").read_bytes()
        told = 0
        for bit in flipped_bits(stopped / name, tries=4):
            copy = tmp_path / "copy"
            shutil.copytree(stopped, copy)
            trainer, notes = resumed(copy, tiny_images)
            assert trainer.run()
            assert equal(trainer.model, whole), bit
            assert notes or (copy / "backgrounds.npy").read_bytes()[128:] == painted[128:]
            told += len(notes)
            shutil.rmtree(copy)
        assert told >= 3, "most bits are those of images"

    def test_those_of_an_older_version_are_taken(self, stopped: Path, tiny_images: Bytes, whole: AstSeg) -> None:
        (stopped / "backgrounds.crc32").unlink()
        trainer, notes = resumed(stopped, tiny_images)
        assert trainer.run()
        assert notes == []
        assert equal(trainer.model, whole)

    def test_a_cut_off_file(self, stopped: Path, tiny_images: Bytes, whole: AstSeg, tmp_path: Path) -> None:
        painted = (stopped / "backgrounds.npy").read_bytes()
        for number, content in enumerate((b"", painted[:6], painted[:-5])):
            folder = shutil.copytree(stopped, tmp_path / str(number))
            (folder / "backgrounds.npy").write_bytes(content)
            trainer, notes = resumed(folder, tiny_images)
            assert trainer.run()
            assert equal(trainer.model, whole)
            assert notes == [f"{folder / 'backgrounds.npy'} is damaged; the backgrounds are painted again."]


class TestModels:
    @pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
    def test_a_flipped_bit_is_found_or_means_nothing(self, whole: AstSeg, tmp_path: Path, name: str) -> None:
        whole.save_pretrained(tmp_path / "model")
        damaged = 0
        for bit in flipped_bits(tmp_path / "model" / name):
            try:
                found = AstSeg.from_pretrained(tmp_path / "model")
            except AstSegError:
                damaged += 1
                continue
            assert equal(found, whole), bit
            assert (found.architecture, found.label_rule) == (whole.architecture, whole.label_rule), bit
        assert damaged > 0.8 * TRIES

    def test_weights_without_a_checksum_are_read(self, whole: AstSeg, tmp_path: Path) -> None:
        whole.save_pretrained(tmp_path)
        save_file(load_file(tmp_path / "model.safetensors"), tmp_path / "model.safetensors")
        assert equal(AstSeg.from_pretrained(tmp_path), whole)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_weights_that_are_not_finite_are_refused(self, tiny_recipe: Recipe, tmp_path: Path, value: float) -> None:
        model = AstSeg(override(tiny_recipe, {}).architecture)
        with torch.no_grad():
            next(model.parameters()).view(-1)[0] = value
        model.save_pretrained(tmp_path)
        with pytest.raises(AstSegError, match="not finite"):
            AstSeg.from_pretrained(tmp_path)


class TestStores:
    @pytest.mark.parametrize(
        "name", ["manifest.json", "train.images.npy", "train.images.crc32", "train.masks.npy", "test.masks.crc32"]
    )
    def test_a_flipped_bit_is_found_or_means_nothing(self, tiny_store: Store, name: str) -> None:
        expected = [np.array(tiny_store[split].images) for split in ("train", "test")]
        damaged = 0
        for bit in flipped_bits(tiny_store.path / name):
            try:
                found = Store(tiny_store.path)
            except AstSegError:
                damaged += 1
                continue
            assert found.manifest == tiny_store.manifest, bit
            for split, images in zip(("train", "test"), expected, strict=True):
                np.testing.assert_array_equal(found[split].images, images)
                np.testing.assert_array_equal(found[split].masks, tiny_store[split].masks)
        assert damaged > 0.9 * TRIES

    def test_an_empty_array_is_damaged(self, tiny_store: Store) -> None:
        (tiny_store.path / "train.images.npy").write_bytes(b"")
        with pytest.raises(AstSegError, match="Cannot read"):
            Store(tiny_store.path)

    def test_checksums_are_missing(self, tiny_store: Store) -> None:
        (tiny_store.path / "train.images.crc32").unlink()
        with pytest.raises(AstSegError, match=r"train\.images\.crc32: No such file"):
            Store(tiny_store.path)
