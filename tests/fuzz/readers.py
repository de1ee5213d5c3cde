"""Every reader of files, with small valid files for it and a digest of what it reads."""

import gzip
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
import torch
from PIL import Image
from tests.data.benchmarks import formats

from astseg._core.errors import AstSegError
from astseg._core.image_files import count_images, read_exif_transpose, read_images
from astseg._core.input_files import parse_json
from astseg._core.settings_io import from_builtins, to_builtins
from astseg.authors.checkpoint_file import read_checkpoint_file
from astseg.data.arrays import open_arrays
from astseg.data.benchmarks import clevrtex, shapestacks
from astseg.data.benchmarks.archives import open_sources
from astseg.data.benchmarks.hdf5 import read_hdf5
from astseg.data.benchmarks.multi_object import OBJECTS_ROOM, read_records
from astseg.data.benchmarks.staging import IMAGE, MASK
from astseg.data.benchmarks.store_check import check_store
from astseg.data.coco import CocoFile
from astseg.data.label_arrays import LabelArray
from astseg.data.masks import choose_coding, decode_mask, read_raw_masks
from astseg.data.source_names import read_list
from astseg.data.store import Store
from astseg.data.store_writer import StoreWriter
from astseg.data.truth import CdnetTruth, ImageName
from astseg.data.video import read_frames
from astseg.evaluation.scores_file import read_scores
from astseg.inference.resuming import read_batch, write_batch
from astseg.inference.tiles import OF_OBJECTS
from astseg.training.config import Recipe
from astseg.training.loggers import read_metrics
from astseg.training.presets import PRESETS
from astseg.training.run_folder import read_progress, read_recipe, read_run
from astseg.training.small_recipes import cpu_recipe
from astseg.training.state import TrainState

NOISE = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
NUM_ROOMS = 2
LABELS = np.random.default_rng(1).integers(0, 3, (12, 10), dtype=np.uint8)


@dataclass(frozen=True)
class Reader:
    """A reader of files of one kind."""

    name: str
    file: str
    """The name of the file, whose suffix counts."""
    seeds: Callable[[Path], list[bytes]]
    """Return contents of valid files; a folder for temporary files is given."""
    read: Callable[[Path], Any]
    """Read a file; what comes back is compared by `digest`."""
    checked: bool = False
    """Whether the format has checksums of all that is read, so that no other content may be read without an error."""


def read_seeds(reader: Reader, folder: Path) -> tuple[list[bytes], list[str]]:
    """Return the contents of valid files, and the digest of what is read of each."""
    seeds, file = reader.seeds(folder), folder / reader.file
    expected = []
    for seed in seeds:
        file.write_bytes(seed)
        expected.append(digest(reader.read(file)))
    return seeds, expected


def digest(value: Any) -> str:
    """Return a short text that tells whether two readings are the same."""
    return hashlib.sha256(repr(_plain(value)).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | torch.Tensor):
        array = np.asarray(value)
        return (array.shape, str(array.dtype), array.tobytes())
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple | Iterator) else value


def _images(*suffixes: str) -> Callable[[Path], list[bytes]]:
    def write(folder: Path) -> list[bytes]:
        contents = []
        for suffix in suffixes:
            grey, colored = Image.fromarray(LABELS), Image.fromarray(NOISE)
            palette = [colored.convert("P")] if suffix in ("png", "gif", "bmp", "tga", "pcx") else []
            for image in (grey, colored, *palette):
                buffer = io.BytesIO()
                image.save(buffer, suffix)
                contents.append(buffer.getvalue())
        return contents

    return write


def _tiff(folder: Path) -> list[bytes]:
    contents = []
    for mode, compression in (("RGB", "tiff_deflate"), ("L", "tiff_lzw"), ("F", "raw"), ("I;16", "tiff_deflate")):
        buffer = io.BytesIO()
        values: dict[str, Any] = {"F": (LABELS > 0).astype(np.float32), "I;16": LABELS.astype(np.uint16) * 30_000}
        pages = [Image.fromarray(values[mode]) if mode in values else Image.fromarray(NOISE).convert(mode)] * 2
        pages[0].save(buffer, "TIFF", compression=compression, save_all=True, append_images=pages[1:])
        contents.append(buffer.getvalue())
    return contents


def _npy(folder: Path) -> list[bytes]:
    contents = []
    for array in (NOISE[None].repeat(3, 0), NOISE / np.float32(255), np.asfortranarray(LABELS[None].repeat(2, 0))):
        buffer = io.BytesIO()
        np.save(buffer, array)
        contents.append(buffer.getvalue())
    return contents


def _npz(folder: Path) -> list[bytes]:
    contents = []
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, images=NOISE[None].repeat(3, 0), masks=LABELS[None].repeat(3, 0))
        contents.append(buffer.getvalue())
    return contents


def _read_array(path: Path) -> list[Any]:
    file = open_arrays(path)
    items = list(file)
    told = [*file.unread, *(item.problem for item in items if item.problem)]
    if told:  # users are told, too
        raise AstSegError(f"{len(told)} arrays or images are not read.")
    return [(item.image, item.mask) for item in items]


def _label_array(folder: Path) -> list[bytes]:
    contents = []
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, labels=LABELS[None].repeat(3, 0))
        contents.append(buffer.getvalue())
    return contents


def _read_label_array(path: Path) -> list[Any]:
    array = LabelArray(path)
    return [array[index] for index in range(len(array))]


def _read_masks(path: Path) -> list[Any]:
    masks = list(read_raw_masks(path))
    coding = choose_coding(masks)
    return [decode_mask(mask, coding) for mask in masks]


def _records(compressed: bool, folder: Path) -> list[bytes]:
    messages = [formats.scene_message(*formats.room(index)) for index in range(NUM_ROOMS)]
    return [formats.write_records(folder / "records", messages, compressed).read_bytes()]


def _read_samples(samples: Iterator[Any]) -> list[Any]:
    return [(sample.image, sample.labels) for sample in samples]


def _read_rooms(path: Path) -> list[Any]:
    samples = _read_samples(read_records(path, OBJECTS_ROOM, 32))
    if len(samples) < NUM_ROOMS:  # as the import says of a file that was cut off between two records
        raise AstSegError(f"{len(samples)} records of {NUM_ROOMS}")
    return samples


def _hdf5(folder: Path) -> list[bytes]:
    image, masks = formats.room(1)
    contents = []
    for mask in (masks[None, ..., None], masks.argmax(0).astype(np.uint8)[None, ..., None]):
        for compression in (None, "gzip"):
            with h5py.File(folder / "a.hdf5", "w") as file:
                file.create_dataset("image", data=image[None], compression=compression)
                file.create_dataset("mask", data=mask, compression=compression)
            contents.append((folder / "a.hdf5").read_bytes())
    return contents


def _tar(folder: Path) -> list[bytes]:
    files = {f"folder/{index}.bin": bytes([index]) * 300 for index in range(3)}
    return [formats.tar(files | {"folder/" * 18 + "x": b"long"})]


def _tgz(folder: Path) -> list[bytes]:
    return [gzip.compress(content) for content in _tar(folder)]


def _read_archive(path: Path) -> list[Any]:
    return [(member.name, member.read()) for source in open_sources([path]) for member in source.members()]


def _read_lists(path: Path) -> Any:
    lists = shapestacks.read_lists(open_sources([path]), "default")
    return lists, shapestacks.file_index("recordings/a/rgb-cam_1-mono-0.png", shapestacks.scenario_numbers(lists))


def _file_list(folder: Path) -> list[bytes]:
    here = str(folder).encode()
    return [here + b"\n\n" + here + b"\n", here + b"\0" + here]


def _lists(folder: Path) -> list[bytes]:
    return [
        formats.tar(
            {f"splits/default/{name}.txt": f"{name}-1\n{name}-2\n".encode() for name in ("train", "eval", "test")}
        )
    ]


def _film(form: str, codec: str, folder: Path) -> list[bytes]:
    with av.open(str(folder / f"a.{form}"), "w", format=form) as container:
        container.metadata["title"] = "a title"
        stream: Any = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for grey in (0, 90, 180):
            image = np.full((32, 32, 3), grey, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return [(folder / f"a.{form}").read_bytes()]


def _read_film(path: Path) -> list[Any]:
    damages: list[str] = []
    frames = [(frame.time, frame.image) for frame in read_frames(path, 1, lambda index, reason: damages.append(reason))]
    if damages:
        raise AstSegError(damages[0])
    return frames


def _png(folder: Path) -> list[bytes]:
    return [formats.png(formats.tex_labels(1), 3, formats.palette())]


def _decode(decoder: Callable[[bytes, int, int], Any], kind: int, path: Path) -> Any:
    return decoder(path.read_bytes(), kind, 32)


def _write_store(path: Path) -> None:
    writer = StoreWriter(path, (12, 10), "squares", "a protocol", {"seed": 1, "slots": 3})
    with writer, writer.split("test") as split:
        split.append(NOISE[None].repeat(2, 0), LABELS[None].repeat(2, 0))


def _store(part: str, folder: Path) -> list[bytes]:
    _write_store(folder / "whole")
    return [(folder / "whole" / part).read_bytes()]


def _read_store(part: str, path: Path) -> Any:
    folder = path.parent / "whole"
    before = (folder / part).read_bytes()
    try:
        (folder / part).write_bytes(path.read_bytes())
        store = Store(folder)
        store.verify()
        check_store(folder, num_slots=None if store.manifest.details.get("slots") else 3)
        return {name: (store[name].images, store[name].masks, store[name].ignored_label) for name in store.splits}
    finally:
        (folder / part).write_bytes(before)


def _coco(folder: Path) -> list[bytes]:
    image = {"id": 1, "file_name": "a.jpg", "height": 12, "width": 10}
    forms: list[Any] = [[[1, 1, 6, 1, 6, 5.5, 1, 5]], {"size": [12, 10], "counts": [30, 40, 50]}]
    forms.append({"size": [12, 10], "counts": "n0X1b1"})
    entries = [{"image_id": 1, "iscrowd": index // 2, "segmentation": form} for index, form in enumerate(forms)]
    content = {"images": [image], "annotations": entries, "categories": [{"id": 1, "name": "object"}]}
    return [json.dumps(content).encode()]


def _read_truth(path: Path) -> Any:
    file = CocoFile(path)
    truths = [file.truth(image) for image in file.images.values()]
    return [(truth.regions.labels, repr(truth.regions.masks), repr(truth.crowds)) for truth in truths]


def _read_sequence(path: Path) -> Any:
    masks = path.parent / "groundtruth"
    masks.mkdir(exist_ok=True)
    Image.fromarray(np.zeros((12, 10), np.uint8)).save(masks / "gt000001.png")
    return [CdnetTruth(masks).find(ImageName(f"in{number:06d}")) is not None for number in range(3)]


def _json(content: Any) -> Callable[[Path], list[bytes]]:
    return lambda folder: [json.dumps(content).encode()]


def _read_run(path: Path) -> Any:
    return to_builtins(read_run(path.parent))


def _read_recipe(path: Path) -> Any:
    return to_builtins(read_recipe(path))


def _read_settings(path: Path) -> Any:
    return to_builtins(from_builtins(Recipe, parse_json(path.read_bytes())))


def _known_progress(path: Path) -> Any:
    return repr(read_progress(path.parent))


RECIPE = cpu_recipe((32, 32), 2)
RUN = {"title": "a run", "recipe": to_builtins(RECIPE), "data": "/data", "seed": 3, "provenance": {"commit": "x"}}
MEANS = {"images": 1, "miou": 0.5, "ari_fg": 0.5, "ari": 0.5, "msc_fg": 0.5, "msc": 0.5, "scaled_sc": 0.5}
SCORES = {
    "summary": {
        "overall": MEANS,
        "by_objects": {"1": MEANS},
        "two_or_more_objects": None,
        "background_everywhere": MEANS,
        "images_without_foreground": 0,
        "images_with_more_objects_than_slots": 0,
        "num_slots": 2,
        "protocol": "p",
    },
    "model": "m",
    "data": {"source": "s", "protocol": "p", "dataset": None, "image_size": [32, 32], "images": {"test": 1}},
    "split": "test",
    "provenance": {"astseg": "0", "commit": "", "machine": "m", "torch": "2", "python": "3"},
}
PROGRESS = {"phase": "joint", "step": 1, "steps": 2, "finished": False}
ENTRY = {"step": 1, "phase": "joint", "phase_step": 1, "seconds": 1.5, "total": 0.5}


def _checkpoint(folder: Path) -> list[bytes]:
    buffer = io.BytesIO()
    torch.save({"encoder_state_dict": {"a": torch.arange(6.0)}, "generator_state_dict": {}, "epoch": 3}, buffer)
    return [buffer.getvalue()]


def _read_weights(path: Path) -> Any:
    return read_checkpoint_file(path)


def _state(folder: Path) -> list[bytes]:
    state = TrainState.begin(RECIPE, 4, torch.device("cpu"))
    state.save(folder / "state.pt")
    return [(folder / "state.pt").read_bytes()]


def _read_state(path: Path) -> Any:
    state = TrainState.load(path, torch.device("cpu"))
    return {"seed": state.seed, "step": state.step, **state.model.state_dict()}


def _batch(folder: Path) -> list[bytes]:
    objects = dict(zip(OF_OBJECTS, torch.rand(4, 1, 2, 2, generator=torch.Generator()), strict=True))
    found = {"labels": torch.from_numpy(LABELS)[None].to(torch.uint8), **objects}
    write_batch(folder / "batch.pt", "pixels", found)
    return [(folder / "batch.pt").read_bytes()]


def _read_batch(path: Path) -> Any:
    found = read_batch(path, "pixels", (1, *LABELS.shape))
    if found is None:  # as if there were none
        raise AstSegError("It is segmented again.")
    return dict(found)


READERS: tuple[Reader, ...] = (
    *(
        Reader(f"image {suffix}", f"a.{suffix}", _images(suffix), lambda path: list(read_images(path)), suffix == "png")
        for suffix in ("png", "gif", "webp", "bmp", "jpeg", "ppm", "tga", "pcx", "sgi")
    ),
    Reader("image tiff", "a.tif", _tiff, lambda path: list(read_images(path))),
    Reader("headers of an image", "a.tif", _tiff, lambda path: (count_images(path), str(read_exif_transpose(path)))),
    Reader("mask png", "a.png", _images("png"), _read_masks, checked=True),
    Reader("mask tiff", "a.tif", _tiff, _read_masks),
    Reader("npy", "a.npy", _npy, _read_array),
    Reader("npz", "a.npz", _npz, _read_array, checked=True),
    Reader("npz of labels", "a.npz", _label_array, _read_label_array),
    Reader(
        "tfrecord",
        "a.tfrecord",
        partial(_records, False),
        _read_rooms,
        True,
    ),
    Reader(
        "tfrecord.gz",
        "a.tfrecord",
        partial(_records, True),
        _read_rooms,
        True,
    ),
    Reader("hdf5", "a.hdf5", _hdf5, lambda path: _read_samples(read_hdf5(path, OBJECTS_ROOM, 32))),
    Reader("tar", "a.tar", _tar, _read_archive),
    Reader("tar.gz", "a.tar.gz", _tgz, _read_archive, checked=True),
    Reader("list of files", "a.txt", _file_list, lambda path: [str(one) for one in read_list(path)]),
    Reader("lists of shapestacks", "a.tar", _lists, _read_lists),
    Reader("clevrtex image", "a.png", _png, partial(_decode, clevrtex.decode, IMAGE), checked=True),
    Reader("clevrtex mask", "a.png", _png, partial(_decode, clevrtex.decode, MASK), checked=True),
    Reader("shapestacks map", "a.png", _png, partial(_decode, shapestacks.decode, MASK), checked=True),
    Reader("film avi", "a.avi", partial(_film, "avi", "mpeg4"), _read_film),
    Reader("film mp4", "a.mp4", partial(_film, "mp4", "mpeg4"), _read_film),
    Reader("film mkv", "a.mkv", partial(_film, "matroska", "mjpeg"), _read_film),
    Reader("manifest", "manifest.json", partial(_store, "manifest.json"), partial(_read_store, "manifest.json")),
    Reader("store's array", "a.npy", partial(_store, "test.images.npy"), partial(_read_store, "test.images.npy"), True),
    Reader("run.json", "run.json", _json(RUN), _read_run),
    Reader("coco", "a.json", _coco, _read_truth),
    Reader("frames of cdnet", "temporalROI.txt", lambda folder: [b"1 80\n"], _read_sequence),
    Reader(
        "recipe",
        "recipe.json",
        _json(to_builtins(PRESETS["clevr"].recipe)),
        _read_recipe,
    ),
    Reader("scores", "scores.json", _json(SCORES), lambda path: to_builtins(read_scores(path))),
    Reader(
        "progress",
        "progress.json",
        _json({"phase": "joint", "step": 1, "steps": 2, "finished": False}),
        _known_progress,
    ),
    Reader("journal", "metrics.jsonl", lambda folder: [2 * (json.dumps(ENTRY).encode() + b"\n")], read_metrics),
    Reader(
        "settings",
        "a.json",
        _json(to_builtins(RECIPE)),
        _read_settings,
    ),
    Reader("authors' checkpoint", "a.pth", _checkpoint, _read_weights),
    Reader("checkpoint", "a.pt", _state, _read_state),
    Reader("kept batch", "a.pt", _batch, _read_batch, checked=True),
)


def legitimate(error: BaseException) -> bool:
    """Tell whether an error is one of those that a reader may raise, with something to read in it."""
    return isinstance(error, AstSegError | ValueError) and bool(str(error).strip()) and "\n" not in str(error)
