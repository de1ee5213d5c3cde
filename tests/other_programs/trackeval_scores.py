"""Print what TrackEval says of tracks, as JSON: TRUE.txt FOUND.txt FRAMES, two lists of MOTS whose class is 1."""

import contextlib
import io
import json
import shutil
import sys
import tempfile
from pathlib import Path

import trackeval

true, found, frames = sys.argv[1:]
with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
    folder = Path(name)
    for source, target in ((true, folder / "true/label_02"), (found, folder / "found/astseg/data")):
        target.mkdir(parents=True)
        shutil.copyfile(source, target / "film.txt")
    choices = {
        "GT_FOLDER": str(folder / "true"),
        "TRACKERS_FOLDER": str(folder / "found"),
        "OUTPUT_FOLDER": str(folder / "scores"),
        "CLASSES_TO_EVAL": ["car"],  # that is class 1
        "SEQ_INFO": {"film": int(frames)},
    }
    quiet = {"PRINT_RESULTS": False, "PRINT_CONFIG": False, "PLOT_CURVES": False, "BREAK_ON_ERROR": True}
    metrics = [trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(), trackeval.metrics.Identity()]
    results, _ = trackeval.Evaluator(trackeval.Evaluator.get_default_eval_config() | quiet).evaluate(
        [trackeval.datasets.KittiMOTS(choices)], metrics
    )
scores = results["KittiMOTS"]["astseg"]["film"]["car"]
print(
    json.dumps(
        {
            "hota": float(scores["HOTA"]["HOTA"].mean()),
            "idf1": float(scores["Identity"]["IDF1"]),
            "switches": int(scores["CLEAR"]["IDSW"]),
        }
    )
)
