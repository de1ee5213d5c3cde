"""Reading, preparing and generating images."""
