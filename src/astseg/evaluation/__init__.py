"""Evaluation: metrics of label maps as pure functions, the scoring of a model on a split, and the scores file."""
