"""Provenance of a result, for reproducing it: versions, commit, date."""

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import vlrnn

_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "numpy")


def provenance() -> dict[str, str]:
    """The date (UTC), the version of this package, its commit (if it runs from a repository; followed by `, changed` if
    files differ from it), and the versions of Python and the numerical libraries."""
    found = {"date": datetime.now(UTC).isoformat(" ", "seconds"), "vlrnn": vlrnn.__version__, "commit": _commit()}
    found["python"] = platform.python_version()
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {name: value for name, value in found.items() if value}


def _commit() -> str:
    root = Path(vlrnn.__file__).parents[1]
    if not (root / ".git").exists():  # installed, perhaps within another repository
        return ""
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    return commit + (", changed" if commit and _git(root, "status", "--porcelain", "--untracked-files=no") else "")


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
