"""Tests of the transparency log: vectors of others, properties, crashes, and verifiers that are not ours."""
