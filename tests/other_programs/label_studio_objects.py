"""Print what Label Studio's own library reads in a folder, as JSON: FOLDER.

For each task of ``tasks.json`` its ``image``, what the library finds wrong with its prediction by ``config.xml``
(``errors``), and its ``objects``: the name of the category and the ``pixels``, counted along the rows.
"""

import json
import sys
from pathlib import Path

import numpy as np
from label_studio_sdk.converter.brush import decode_rle
from label_studio_sdk.label_interface import LabelInterface

folder = Path(sys.argv[1])
interface = LabelInterface((folder / "config.xml").read_text(encoding="utf-8"))
interface.validate()
tasks = []
for task in json.loads((folder / "tasks.json").read_text(encoding="utf-8")):
    errors, objects = [], []
    for prediction in task["predictions"]:
        errors += interface.validate_prediction(prediction, return_errors=True)
        for region in prediction["result"]:
            painted = np.reshape(decode_rle(region["value"]["rle"]), (-1, 4))  # red, green, blue and alpha
            (category,) = region["value"]["brushlabels"]
            objects.append({"category": category, "pixels": np.flatnonzero(painted[:, 3]).tolist()})
    if not interface.validate_task({"data": task["data"]}):  # with predictions the library calls itself wrongly
        errors.append("not a task")
    tasks.append({"image": task["data"]["image"], "errors": errors, "objects": objects})
print(json.dumps(tasks))
