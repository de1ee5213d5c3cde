"""The basis of all other packages; it imports nothing else of astseg."""
