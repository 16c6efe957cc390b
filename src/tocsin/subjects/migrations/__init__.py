"""Schema history of the subjects room."""
