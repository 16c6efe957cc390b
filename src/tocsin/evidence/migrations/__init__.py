"""Schema history of the evidence room."""
