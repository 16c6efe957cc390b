"""Schema history of the mail room."""
