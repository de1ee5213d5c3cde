"""Scores: pure metrics of label maps, and a model scored on a split."""
