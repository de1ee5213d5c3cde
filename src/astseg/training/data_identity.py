"""The identity of training images, so that a run is not resumed on others."""

import hashlib
import json
from dataclasses import dataclass

from astseg._core.checksums import checked_sums
from astseg.data.store import Bytes


@dataclass(frozen=True)
class DataIdentity:
    """What distinguishes training images from others of the same number and size."""

    looked_at: str
    """A hash of the images themselves: of all up to 256 MiB, else of 256 of them."""
    file_sha256: str = ""
    """The hash of their file, as its store noted it when it was written; empty if unknown."""

    def differs_from(self, other: "DataIdentity") -> bool:
        """Tell whether these are other images, as far as can be seen without reading all of them."""
        files = (self.file_sha256, other.file_sha256)
        return self.looked_at != other.looked_at or (all(files) and files[0] != files[1])


def identify(images: Bytes, file_sha256: str = "") -> DataIdentity:
    """Return the identity of images, N x H x W x 3."""
    _, sums = checked_sums(images)
    content = json.dumps(images.shape).encode() + sums.tobytes()
    return DataIdentity(hashlib.sha256(content).hexdigest(), file_sha256)
