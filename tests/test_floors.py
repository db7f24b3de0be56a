"""Who may import whom: the floors of the design, over the import statements."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import vlrnn

ROOT = Path(vlrnn.__file__).parent
NO_TORCH = [
    "errors terminal",
    "files processes progress sidecar_cache yaml_text",
    "trust",
    "config",
    "text",
    "data.records data.record_ids data.images data.shards inference.onnx_captioner",
    "data.formats.base",
    "data.splits",
    "data.formats data.matching data.synthetic",
    "metrics",
    "runs",
    "probes",
    "data.prepare",
]
NO_LIGHTNING = ["nn.batching", "nn.recurrent", "nn.weights", "nn.encoders", "nn", "nn.decoders", "generation"]
REST = [
    "data",
    "training.objectives",
    "training",
    "tasks",
    "inference",
    "probes.model",
    "report",
    "studies.fitting studies.pretraining",
    "studies.jobs",
    "studies.cells",
    "studies",
    "demo",
    "commands",
    "cli",
    "__main__",
]
FLOORS = [*NO_TORCH, *NO_LIGHTNING, *REST]
"""From the lowest: a file imports from its own floor and from lower ones. Its floor is that of its longest prefix."""

HEIGHT = {name: height for height, names in enumerate(FLOORS) for name in names.split()}
TORCH = {"torch", "torchvision", "torchmetrics", "pytorch_lightning", "lightning", "safetensors", "timm"}

FILES = sorted(path for path in ROOT.rglob("*.py") if path.name != "__init__.py")


def module(path: Path) -> str:
    """The name of a file below the package: `nn.attention`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def floor(name: str) -> int | None:
    """The floor of a module, or of a name in it."""
    while name and name not in HEIGHT:
        name = name.rpartition(".")[0]
    return HEIGHT.get(name)


def imported(path: Path) -> Iterator[str]:
    """The dotted names of all imports of a file, those within functions and for type checking as well."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path: Path) -> Iterator[tuple[str, Path]]:
    """The modules of vlrnn that a file imports: name below the package, and file."""
    for name in imported(path):
        for dotted in (name, name.rpartition(".")[0]):  # a module, or a name in it
            file = ROOT.parent.joinpath(*dotted.split(".")).with_suffix(".py")
            if dotted.startswith("vlrnn.") and file.is_file():
                yield dotted.removeprefix("vlrnn."), file


def test_every_file_stands_on_a_floor() -> None:
    assert [module(path) for path in FILES if floor(module(path)) is None] == []


def test_imports_go_down() -> None:
    up = {(module(path), name) for path in FILES for name, _ in own_imports(path) if floor(name) > floor(module(path))}
    assert up == set()


def test_no_task_is_imported_from_above() -> None:
    """Nothing outside `vlrnn.tasks` imports a task: what a task accepts and returns is asked of `Task`."""
    users = {(module(path), name) for path in FILES for name, _ in own_imports(path) if name.startswith("tasks.")}
    assert {user for user, _ in users if not user.startswith("tasks.")} == set()


def test_no_circle() -> None:
    """Files import each other in one order, within a floor as well."""
    graph = {module(path): {name for name, _ in own_imports(path)} for path in FILES}
    while ready := {name for name, needed in graph.items() if not needed & graph.keys()}:
        graph = {name: needed for name, needed in graph.items() if name not in ready}
    assert not graph, "these import each other"


def of(floors: list[str]) -> list[Path]:
    return [path for path in FILES if floor(module(path)) in {FLOORS.index(each) for each in floors}]


TORCH_FREE = [*of(NO_TORCH), *of(["report"])]


def importing(files: Iterable[Path], libraries: set[str]) -> list[str]:
    """Those of the files that import one of the libraries."""
    return [module(path) for path in files if {name.partition(".")[0] for name in imported(path)} & libraries]


def test_strings_are_scored_without_torch() -> None:
    """Nor does anything that the files import, however deep."""
    left, reached = list(TORCH_FREE), set(TORCH_FREE)
    while left:
        new = {file for _, file in own_imports(left.pop())} - reached
        reached |= new
        left.extend(new)
    assert importing(sorted(reached), TORCH) == []


def test_networks_import_no_lightning() -> None:
    assert importing(of(NO_LIGHTNING), {"pytorch_lightning", "lightning"}) == []


def test_search_imports_no_network() -> None:
    """No image, no word, no cell: of the networks it needs only how nests of tensors are moved."""
    for name in ("search", "hypotheses", "logits_processors"):
        needed = {each for each, _ in own_imports(ROOT / "generation" / f"{name}.py")}
        below = {"generation.logits_processors", "generation.hypotheses"}
        assert needed <= {*below, "errors", "config", "nn.batching", "terminal"}


def test_torch_is_not_loaded() -> None:
    """As it happens, and not only as it is written: for all torch-free modules at once, and for the command line."""
    modules = [f"vlrnn.{module(path)}" for path in TORCH_FREE]
    program = "\n".join(
        [
            "import sys",
            *(f"import {name}" for name in ("vlrnn", *modules, "vlrnn.cli")),
            "heavy = {name.partition('.')[0] for name in sys.modules} & " + repr(TORCH),
            "sys.exit(', '.join(sorted(heavy)) or 0)",
        ]
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
