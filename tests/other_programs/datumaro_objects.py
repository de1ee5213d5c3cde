"""Print what Datumaro reads in a folder, as JSON: FORMAT FOLDER.

For each image its ``id``, its ``size`` where it can open the file (height and width), and its ``objects``: the name of
the category, the attributes, and the ``pixels``, counted along the rows.
"""

import json
import sys
from typing import Any

import datumaro
import numpy as np
from datumaro.components.annotation import AnnotationType, Mask

kind, folder = sys.argv[1:]
dataset = datumaro.Dataset.import_from(folder, kind)
names = [category.name for category in dataset.categories()[AnnotationType.label].items]


def describe(mask: Mask) -> dict[str, Any]:
    """Return an object as JSON can hold it."""
    attributes = {key: np.array(value).tolist() for key, value in mask.attributes.items()}
    pixels = np.flatnonzero(mask.image).tolist()
    return {"category": names[mask.label], "attributes": attributes, "pixels": pixels}


images = [
    {
        "id": item.id,
        "size": None if item.media is None else item.media.data.shape[:2],
        "objects": [describe(found) for found in item.annotations if isinstance(found, Mask)],  # it adds boxes
    }
    for item in dataset
]
print(json.dumps(images))
