"""The paper's rows: what was published, how its tables are trained again, and the report beside them."""
