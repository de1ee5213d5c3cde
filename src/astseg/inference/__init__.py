"""A trained model on whole sources: folders, videos, arrays."""
