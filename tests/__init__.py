"""The tests, as one package, so that two rooms may both have a test_actions.py."""
