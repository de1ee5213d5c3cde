"""The step of Ray Data in docs/scaling.md, on a local Ray."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.test_readme import ROOT, blocks

from astseg.data.store import Bytes
from astseg.hub.loading import load_model

RUN = """
import sys

import numpy as np
import ray

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
images = ray.data.read_images(sys.argv[1], include_paths=True)
workers = ray.data.ActorPoolStrategy(size=1)
for row in images.map_batches(FindObjects, fn_constructor_args=("rooms",), batch_size=2, compute=workers).take_all():
    np.save(row["path"] + ".npy", row["labels"])
"""


@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install 'astseg[ray]'")
def test_labels_are_those_of_the_model(tmp_path: Path, tiny_images: Bytes) -> None:
    (tmp_path / "images").mkdir()
    for number, image in enumerate(tiny_images[:3]):
        Image.fromarray(image).save(tmp_path / "images" / f"{number}.png")
    step = next(
        block.text for block in blocks((ROOT / "docs/scaling.md").read_text()) if "class FindObjects" in block.text
    )
    (tmp_path / "run.py").write_text(step.split("\nif __name__")[0] + RUN)
    finished = subprocess.run(
        [sys.executable, tmp_path / "run.py", tmp_path / "images"], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    expected = load_model("rooms").segment(np.array(tiny_images[:3])).labels.numpy()
    for number, labels in enumerate(expected):
        assert np.array_equal(np.load(tmp_path / "images" / f"{number}.png.npy"), labels)
