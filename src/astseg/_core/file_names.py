"""Names by which astseg recognizes its own output among a user's files; the modules that write it import them."""

RUN_FILE = "run.json"
"""In the folder of a training run: its settings."""
RUN_KEYS = frozenset({"recipe", "data", "seed"})
"""Keys of `RUN_FILE` that tell it from the run.json of another program."""

CONFIG_FILE = "config.json"
"""In the folder of a model, beside its weights: its settings."""

OBJECTS_FILE = "objects.json"
LABELS_FOLDER = "labels"
"""Beside `OBJECTS_FILE`, in a folder of segmented images."""

SHARDS_FILE = "shards.json"
"""Beside shards, each a folder of segmented images: what all are made from, and how."""

BACKGROUNDS_FOLDER = "backgrounds"
FOREGROUND_MASKS_FOLDER = "masks"
SUMMARY_FILE = "summary.json"
"""Beside the two folders of foreground masks and painted backgrounds."""
