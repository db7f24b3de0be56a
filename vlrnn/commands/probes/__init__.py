"""The probes of `vlrnn probe`: each a file with PURPOSE, `add_arguments(parser)` and `run(arguments) -> Finding`."""
