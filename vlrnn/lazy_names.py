"""Public names of a package, imported at first use: torch is slow to import and not needed for scoring."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The module attributes `__getattr__`, `__dir__` and `__all__` of a package (PEP 562).

    Args:
        package: its name.
        modules: public name -> the module that defines it, relative to the package.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return get, lambda: sorted(modules), sorted(modules)
