"""fit, validate, test, cache: the commands that run a recipe. Their flags are the recipe's keys."""

from collections.abc import Sequence


def run(command: str, arguments: Sequence[str]) -> None:
    """Run one of the four."""
    from vlrnn.training.cli import run_recipe

    run_recipe(command, arguments)
