"""Show what a model does: panels, image grids, curves and the page of a run."""
