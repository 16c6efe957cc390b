"""Developer tools: import contracts and generators of reference pages."""
