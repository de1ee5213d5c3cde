"""Load models by name, shipped with astseg or from the model hub, and export runs as models."""
