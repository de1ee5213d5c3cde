"""Read the checkpoints that the paper's authors publish (``.pth``) into astseg models."""

from astseg.authors.importing import Conversion, convert_authors_checkpoint, import_authors_checkpoint

__all__ = ["Conversion", "convert_authors_checkpoint", "import_authors_checkpoint"]
