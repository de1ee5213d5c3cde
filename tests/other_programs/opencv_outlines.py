"""Print what YOLO's own loader fills by OpenCV, as JSON: FOLDER with images/ and labels/.

For each image its name and its ``objects``: the number of the category and the ``pixels``, counted along the rows.
The loader scales the shares of a line to pixels as 32-bit floats and cuts off what is behind the point.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np

folder = Path(sys.argv[1])
images = []
for path in sorted((folder / "labels").glob("*.txt")):
    height, width = cv2.imread(str((folder / "images" / path.name).with_suffix(".png"))).shape[:2]
    objects = []
    for line in path.read_text(encoding="utf-8").splitlines():
        category, *shares = line.split()
        corners = (np.array(shares, np.float32).reshape(-1, 2) * (width, height)).astype(np.int32)
        mask = np.zeros((height, width), np.uint8)
        cv2.fillPoly(mask, [corners], 1)
        objects.append({"category": int(category), "pixels": np.flatnonzero(mask).tolist()})
    images.append({"image": path.stem, "objects": objects})
print(json.dumps(images))
