"""The paper's tables: the published figures, runs that reproduce them, and the report that compares both."""
