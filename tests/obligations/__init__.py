"""Tests of the obligations room."""
