"""Results of a model that go on where they were stopped, by Ctrl-C, a kill or a power cut.

What the model finds in each batch of images is kept, in a hidden folder beside the results, until these are whole.
Whoever begins anew reads the images again and writes all results again, but what is kept need not be computed. So the
results, a video and tracks too, are byte by byte those of a run that was never stopped.
"""

import hashlib
import io
import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from astseg._core.atomic_io import (
    LOCK_FILE,
    atomic_write,
    cannot_write,
    check_free,
    lock_folder,
    remove_contents,
    resolve_link,
    sibling_path,
    unfinished_folder,
)
from astseg._core.checksums import is_intact, seal_file
from astseg._core.errors import AstSegError
from astseg._core.input_files import read_json
from astseg._core.tensor_files import load_tensors
from astseg._core.tensors import is_plain
from astseg.inference.plans import differing_names, write_plan
from astseg.inference.segmenting import Segmenter
from astseg.inference.tiles import OF_OBJECTS
from astseg.model.segmentation import Segmentation

PLAN_FILE = "plan.json"
"""What the kept batches belong to."""
FOLDER_NUMBER_FILE = "results.json"
"""The number by which the disk knows the folder of the results, before and after it has its name."""
KEPT_FOLDER = ".{}.kept"

Answer: TypeAlias = Mapping[str, Tensor]
"""What a model finds in a batch; tensors of uint8 have a number for each pixel, batch x height x width."""


class KeptAnswers:
    """What a model finds in images, kept in a folder, and taken from there where the same is asked for again.

    Batches are told apart by their number and their pixels. One whose file is damaged is asked for again.

    Args:
        folder: of the answers; it exists.
        out: the folder of the results.
        plan: see `resumable`.
    """

    def __init__(self, folder: Path, out: Path, plan: Mapping[str, Any]) -> None:
        self._folder = folder
        self._out = out
        self._plan = plan
        self._batches = 0
        self.kept = 0
        """Images whose answers are in the folder, of this run and the one before."""
        self.found = 0
        """Those of them that were there already."""

    def answer(
        self,
        images: Float[Tensor, "batch 3 height width"],
        ask: Callable[[], Answer],
        fits: Callable[[Answer], bool],
    ) -> Answer:
        """Return what is kept of the images in [0, 1], or else what ``ask`` returns of them, and keep it.

        What is kept may come from anybody: where it is not like an answer to these images, by ``fits``, it is not used.
        """
        file = self._folder / f"{self._batches:06d}.pt"
        digest = _pixels_digest(images)
        answer = read_batch(file, digest, (len(images), *images.shape[2:]))
        if answer is None or not fits(answer):
            answer = ask()
            write_plan(self._folder / PLAN_FILE, self._plan)  # before the first batch: without one, nothing is kept
            write_batch(file, digest, answer)
        else:
            self.found += len(images)
        if not self._batches:
            _note_results(self._folder, self._out)
        self._batches += 1
        self.kept += len(images)
        return answer


class ResumableSegmenter:
    """A model whose answers are kept.

    Args:
        model: the model.
        kept: where.
    """

    def __init__(self, model: Segmenter, kept: KeptAnswers) -> None:
        self._model = model
        self._kept = kept

    @property
    def num_slots(self) -> int | None:
        """That of the model."""
        return self._model.num_slots

    def segment(self, images: Float[Tensor, "batch 3 height width"]) -> Segmentation:
        """Find the objects in images in [0, 1]; labels are 255 at most."""
        answer = self._kept.answer(images, lambda: self._segment(images), lambda found: _fits(found, images))
        return Segmentation(answer["labels"].long(), **{name: answer[name] for name in OF_OBJECTS})

    def _segment(self, images: Float[Tensor, "batch 3 height width"]) -> Answer:
        found = self._model.segment(images)
        return {"labels": found.labels.to(torch.uint8), **{name: getattr(found, name) for name in OF_OBJECTS}}


def _fits(answer: Answer, images: Float[Tensor, "batch 3 height width"]) -> bool:
    """Tell whether an answer has the shapes of objects in images."""
    if answer.keys() != {"labels", *OF_OBJECTS}:
        return False
    labels, of_objects = answer["labels"], [answer[name] for name in OF_OBJECTS]
    size, slots = len(images), int(labels.max())
    return (
        labels.dtype == torch.uint8
        and labels.shape == (size, *images.shape[2:])
        and all(values.is_floating_point() for values in of_objects)
        and [values.ndim for values in of_objects] == [3, 3, 2, 3]
        and len({values.shape[:2] for values in of_objects}) == 1
        and of_objects[0].shape[0] == size
        and of_objects[0].shape[1] >= slots
        and of_objects[0].shape[2] == of_objects[1].shape[2] == 2
    )


@contextmanager
def resumable(out: Path | str, plan: Mapping[str, Any]) -> Iterator[KeptAnswers]:
    """Yield what a source is asked for by, from the first image on, and keep the answers until the block ends.

    If the block fails or is killed, they stay for the next time.

    Args:
        out: the folder that the block writes the results to, by `atomic_folder`.
        plan: what must be the same when a run goes on, by the words in which users are told that it is not.

    Raises:
        AstSegError: what is kept belongs to another plan, `out` is in use (see `check_place`), or another process
            writes it.
    """
    out = resolve_link(Path(out))
    folder = sibling_path(out, KEPT_FOLDER.format(out.name))
    check_place(out)
    try:
        with lock_folder(folder, out):
            _check_plan(out, folder, plan)
            try:
                yield KeptAnswers(folder, out, plan)
            except BaseException:
                (folder / FOLDER_NUMBER_FILE).unlink(missing_ok=True)  # the number is free for any other folder
                raise
            remove_contents(folder, last=FOLDER_NUMBER_FILE)
    except OSError as error:
        raise cannot_write(out, error) from error


def check_place(out: Path) -> None:
    """Raise if a path for results is in use.

    First, what is kept beside it for results that are whole is removed: of a run that was killed in between.

    Raises:
        AstSegError: see `check_free`.
    """
    out = resolve_link(out)
    for folder in out.parent.glob(KEPT_FOLDER.format("*")):
        with suppress(AstSegError, OSError, ValueError):  # of a run that is at work, or of somebody else
            if _is_spent(folder):
                with lock_folder(folder, folder):
                    remove_contents(folder, last=FOLDER_NUMBER_FILE)
    check_free(out)


def _is_spent(folder: Path) -> bool:
    """Tell whether the results that answers were kept for are whole, or nothing is kept."""
    if all(path.name == LOCK_FILE for path in folder.iterdir()):
        return True
    before, after = KEPT_FOLDER.split("{}")
    out = folder.with_name(folder.name.removeprefix(before).removesuffix(after))
    return read_json(folder / FOLDER_NUMBER_FILE) == out.stat().st_ino and any(out.iterdir())


def _note_results(folder: Path, out: Path) -> None:
    """Note which folder the results are written to, so that it is known when it has its name."""
    with atomic_write(folder / FOLDER_NUMBER_FILE) as partial:
        partial.write_text(json.dumps(unfinished_folder(out).stat().st_ino))


def _pixels_digest(images: Float[Tensor, "batch 3 height width"]) -> str:
    pixels = images.cpu().permute(0, 2, 3, 1).contiguous().numpy()  # as they lie in memory, so without a copy
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(pixels.data)
    return digest.hexdigest()


def write_batch(file: Path, digest: str, answer: Answer) -> None:
    """Write what was found in a batch.

    Args:
        file: where to.
        digest: of the pixels.
        answer: what was found.
    """
    content = {
        name: _pack(values) if values.dtype == torch.uint8 else values.cpu().contiguous()
        for name, values in answer.items()
    }
    buffer = io.BytesIO()  # torch would hide that a disk is full
    torch.save({"pixels": digest, **content}, buffer)
    with atomic_write(file) as partial:
        partial.write_bytes(buffer.getvalue())
        seal_file(partial)


def read_batch(file: Path, digest: str, shape: tuple[int, ...]) -> Answer | None:
    """Read what was found in a batch.

    Args:
        file: of `write_batch`.
        digest: of the pixels.
        shape: number, height and width of the images.

    Returns:
        None if there is no such file, it is damaged, or it is of other pixels or numbers of them.
    """
    if not file.is_file() or not is_intact(file):
        return None
    try:
        content = load_tensors(file)
    except ValueError:
        return None
    if not isinstance(content, dict) or content.pop("pixels", None) != digest:
        return None
    if not all(map(is_plain, content.values())):
        return None
    try:
        return {
            name: _unpack(values, shape) if values.dtype == torch.uint8 else values for name, values in content.items()
        }
    except (zlib.error, RuntimeError):  # not compressed, or not so many
        return None


def _pack(values: Tensor) -> Tensor:
    """Compress the numbers of pixels."""
    return torch.frombuffer(bytearray(zlib.compress(values.cpu().numpy().tobytes(), level=1)), dtype=torch.uint8)


def _unpack(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    numbers = zlib.decompressobj().decompress(packed.numpy().tobytes(), math.prod(shape))
    return torch.frombuffer(bytearray(numbers), dtype=torch.uint8).view(shape)


def _check_plan(out: Path, folder: Path, plan: Mapping[str, Any]) -> None:
    """Raise if a folder has batches of another plan; remove what belongs to none or to results that were not whole.

    Raises:
        AstSegError: it has.
    """
    (folder / FOLDER_NUMBER_FILE).unlink(missing_ok=True)  # what a killed run has written is made again
    try:
        there = read_json(folder / PLAN_FILE)
    except (OSError, ValueError):  # killed before anything was kept
        remove_contents(folder)
        return
    if differing := differing_names(plan, there):
        raise AstSegError(
            f"{out} was begun and stopped with other settings ({', '.join(differing)}): ask for the same to go on, "
            f"choose another place, or remove {folder} to begin anew."
        )
