"""Schema history of the incidents room."""
