"""Who may import whom: the floors of the design, over the import statements."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import vlrnn

ROOT = Path(vlrnn.__file__).parent
FLOORS = [
    {"text", "records", "record_ids", "errors", "files", "parts", "progress", "provenance", "kept", "workers"}
    | {"terminal", "onnx_captioner", "yaml_text", "csv_text", "locks"},
    {"metrics", "nn", "decoding", "interchange", "runs"},
    {"probes", "data"},
    {"tasks"},
    {"predictor"},
    {"instruments", "portable", "report"},
    {"studies", "demo"},
    {"commands", "cli", "__main__"},
]
HEIGHT = {name: height for height, names in enumerate(FLOORS) for name in names}
TORCH_FREE = (
    "text",
    "records",
    "record_ids",
    "errors",
    "files",
    "parts",
    "progress",
    "provenance",
    "kept",
    "workers",
    "terminal",
    "onnx_captioner",
    "yaml_text",
    "csv_text",
    "locks",
    "metrics",
    "interchange",
    "runs",
    "probes",
    "report",
)
TORCH = {"torch", "torchvision", "torchmetrics", "pytorch_lightning", "lightning", "safetensors", "timm"}

FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def part(path: Path) -> str:
    """The part of the package that a file belongs to: `nn`, `records`."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """The dotted names of all imports of a file, those within functions and for type checking as well."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    assert part(path) in HEIGHT, f"{part(path)} stands on no floor"
    for name in imported(path):
        package, _, rest = name.partition(".")
        below = rest.partition(".")[0]
        if package == "vlrnn" and below and not below.startswith("__"):
            assert HEIGHT[below] <= HEIGHT[part(path)], f"{path} imports {name}, which stands higher"


@pytest.mark.parametrize(
    "path", [path for path in FILES if part(path) in TORCH_FREE], ids=lambda p: str(p.relative_to(ROOT))
)
def test_strings_are_scored_without_torch(path: Path) -> None:
    """Nor does anything that the file imports, however deep."""
    left, seen = [path], {path}
    while left:
        for name in imported(left.pop()):
            assert name.partition(".")[0] not in TORCH
            for dotted in (name, name.rpartition(".")[0]):  # a module, or a name in it
                file = ROOT.parent.joinpath(*dotted.split(".")).with_suffix(".py")
                if dotted.startswith("vlrnn.") and file.is_file() and file not in seen:
                    seen.add(file)
                    left.append(file)


@pytest.mark.parametrize("path", [path for path in FILES if part(path) == "nn"], ids=lambda p: p.name)
def test_networks_know_no_lightning(path: Path) -> None:
    assert not {name.partition(".")[0] for name in imported(path)} & {"pytorch_lightning", "lightning"}


def test_search_knows_no_network() -> None:
    """No image, no word, no cell: of the networks it knows only how nests of tensors are moved."""
    for path in (ROOT / "decoding").glob("*.py"):
        known = {name.rpartition(".")[0] for name in imported(path) if name.startswith("vlrnn.")}
        beside = {"vlrnn.decoding.constraints", "vlrnn.decoding.hypotheses"}
        assert known <= {*beside, "vlrnn.errors", "vlrnn.parts", "vlrnn.nn.tree"}


def test_torch_is_not_loaded() -> None:
    """As it happens, and not only as it is written: for all torch-free modules at once, and for the command line."""
    modules = [
        ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in FILES
        if part(path) in (*TORCH_FREE, "cli")
    ]
    program = "\n".join(
        [
            "import sys",
            *(f"import {module}" for module in ("vlrnn", *modules)),
            "heavy = {name.partition('.')[0] for name in sys.modules} & " + repr(TORCH),
            "sys.exit(', '.join(sorted(heavy)) or 0)",
        ]
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
