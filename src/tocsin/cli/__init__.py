"""The `tocsin` command: names and JSON keys are a contract (docs/reference/cli.md).

`main` is the one place of the command line that catches everything: it turns an error into its exit code.
"""
