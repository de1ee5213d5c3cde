"""Images of what a model does: panels, grids, curves and the page of a run."""
