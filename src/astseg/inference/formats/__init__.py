"""Results in the file formats of other programs, a file for each format; `converting` has the table of them."""
