"""The studies of `vlrnn study`: each a file with PURPOSE, `add_arguments(parser)` and `run(arguments) -> Finding`."""
