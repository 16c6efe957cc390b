"""Schema history of the staff room."""
