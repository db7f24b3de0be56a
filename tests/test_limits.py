"""Limits of size and of wording over the source, as a ratchet: the numbers of LIMITS are lowered as the code gets
better. Totals of lines and files are raised only by what a feature needs. `python tests/test_limits.py` prints what is
measured, and the limits."""

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parent.parent

LIMITS = {
    "median of function lines": 10,
    "90th percentile of function lines": 22,
    "longest function": 60,
    "longest file": 300,
    "files under 40 lines": 2,
    "files": 241,  # shall be 220
    "lines of vlrnn": 35_410,  # 31,812 when the rebuilding began
    "lines of vlrnn, data_prep and demo": 35_909,
    "names with a forbidden word": 0,
    "metaphors in docstrings": 3,  # two keys and a quotation
    "metaphors in docstrings of networks and training": 0,
    "public class names used twice": 0,
    "tests with a forbidden word": 0,
    "names in tests with a forbidden word": 0,
}
"""The highest numbers that pass. Lines of functions count their docstrings; faces, `__init__` and `__main__`, are no
short files."""

_WORDS = (
    "say says said saying tell told teller hear heard listening look looks looked see sees seen sight speak speaking "
    "spoken know knows known taught learnt ask asks asked guess worth glimpse glimpses utterance understanding "
    "understood beside alike kept mend there alive halves veiled"
)
_NAMES = "FoldedTrunk Half PlainCheckpoints Shares Shown begin_here fill_up reads reread spelled"
FORBIDDEN_WORDS, FORBIDDEN_NAMES = set(_WORDS.split()), set(_NAMES.split())
"""The words of names, in lower case; and whole names."""
FORBIDDEN_SIZES = {"width", "layers", "embedding"}
"""As integer arguments of networks."""
ALLOWED_NAMES = {"ShowAndTell", "ShowAttendTell", "num_glimpses", "parse_known_args"}  # the last is of argparse
STRICT_PARTS = ("nn", "generation", "training", "tasks")
"""Where docstrings shall have no metaphor at all."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_METAPHORS = (
    "say says said saying hear hears heard hearing look looks looked looking tell tells told telling speak speaks "
    "spoke spoken speaking see sees saw seen seeing know knows knew known knowing"
)
_METAPHOR = re.compile(rf"\b({'|'.join(_METAPHORS.split())})\b(?! `)", re.IGNORECASE)  # "see `this`" is to the reader


@cache
def sources(folder: str) -> dict[Path, str]:
    """The text of each Python file below a folder of the checkout."""
    return {path: path.read_text("utf-8") for path in sorted((ROOT / folder).rglob("*.py"))}


@cache
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(text) for path, text in sources("vlrnn").items()}


@cache
def nodes() -> dict[Path, list[ast.AST]]:
    return {path: list(ast.walk(tree)) for path, tree in trees().items()}


def lines_of_files(folder: str = "vlrnn") -> dict[Path, int]:
    return {path: text.count("\n") for path, text in sources(folder).items()}


def short_files() -> int:
    lines = lines_of_files().items()
    return sum(count < 40 for path, count in lines if path.stem not in ("__init__", "__main__"))


@cache
def lines_of_functions() -> list[int]:
    functions = (
        node for each in nodes().values() for node in each if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return sorted((node.end_lineno or 0) - node.lineno + 1 for node in functions)


def part(path: Path) -> str:
    return path.relative_to(ROOT / "vlrnn").parts[0]


def bound_names(node: ast.AST) -> Iterator[str]:
    """What a node gives a name to: a definition, an argument, a variable, an attribute."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
            yield name


def is_forbidden(name: str) -> bool:
    words = {word.lower() for word in _WORD.findall(name)}
    return name not in ALLOWED_NAMES and (name in FORBIDDEN_NAMES or not words.isdisjoint(FORBIDDEN_WORDS))


def is_forbidden_size(node: ast.AST) -> bool:
    if not (isinstance(node, ast.arg) and node.arg in FORBIDDEN_SIZES and node.annotation):
        return False
    return any(isinstance(each, ast.Name) and each.id == "int" for each in ast.walk(node.annotation))


@cache
def forbidden_names() -> dict[Path, Counter[str]]:
    """The bindings of each file whose name is forbidden, and how many there are of each."""
    found = {}
    for path, each in nodes().items():
        found[path] = Counter(name for node in each for name in bound_names(node) if is_forbidden(name))
        if part(path) == "nn":
            found[path].update(node.arg for node in each if isinstance(node, ast.arg) and is_forbidden_size(node))
    return found


@cache
def metaphors() -> dict[Path, Counter[str]]:
    """The words in the docstrings of each file, those of attributes among them, that are metaphors for computing."""
    return {
        path: Counter(
            word.lower()
            for node in each
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
            for word in _METAPHOR.findall(node.value.value)
        )
        for path, each in nodes().items()
    }


@cache
def forbidden_in_tests() -> dict[Path, Counter[str]]:
    """As `forbidden_names`, of the files of tests."""
    return {
        path: Counter(name for node in ast.walk(ast.parse(text)) for name in bound_names(node) if is_forbidden(name))
        for path, text in sources("tests").items()
    }


def forbidden_tests() -> dict[Path, Counter[str]]:
    return {
        path: Counter({name: count for name, count in names.items() if name.startswith("test_")})
        for path, names in forbidden_in_tests().items()
    }


def strict_metaphors() -> dict[Path, Counter[str]]:
    return {path: words for path, words in metaphors().items() if part(path) in STRICT_PARTS}


def public_classes() -> Counter[str]:
    top = (node for tree in trees().values() for node in tree.body)
    return Counter(node.name for node in top if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))


MEASURES: dict[str, Callable[[], float]] = {
    "median of function lines": lambda: median(lines_of_functions()),
    "90th percentile of function lines": lambda: lines_of_functions()[len(lines_of_functions()) * 9 // 10],
    "longest function": lambda: lines_of_functions()[-1],
    "longest file": lambda: max(lines_of_files().values()),
    "files under 40 lines": short_files,
    "files": lambda: len(lines_of_files()),
    "lines of vlrnn": lambda: sum(lines_of_files().values()),
    "lines of vlrnn, data_prep and demo": lambda: sum(
        count for folder in ("vlrnn", "data_prep", "demo") for count in lines_of_files(folder).values()
    ),
    "names with a forbidden word": lambda: sum(words.total() for words in forbidden_names().values()),
    "metaphors in docstrings": lambda: sum(words.total() for words in metaphors().values()),
    "metaphors in docstrings of networks and training": lambda: sum(
        words.total() for words in strict_metaphors().values()
    ),
    "tests with a forbidden word": lambda: sum(names.total() for names in forbidden_tests().values()),
    "names in tests with a forbidden word": lambda: sum(names.total() for names in forbidden_in_tests().values()),
    "public class names used twice": lambda: sum(count > 1 for count in public_classes().values()),
}
OFFENDERS: dict[str, Callable[[], dict[Path, Counter[str]]]] = {
    "names with a forbidden word": forbidden_names,
    "tests with a forbidden word": forbidden_tests,
    "names in tests with a forbidden word": forbidden_in_tests,
    "metaphors in docstrings": metaphors,
    "metaphors in docstrings of networks and training": strict_metaphors,
}


def offenders(name: str) -> Iterator[str]:
    """Lines of what counts: for each file the words, the most frequent first."""
    if name == "public class names used twice":
        yield ", ".join(each for each, count in public_classes().items() if count > 1)
    for path, words in OFFENDERS.get(name, dict)().items():
        if words:
            counts = ", ".join(f"{word} {count}" for word, count in words.most_common())
            yield f"{path.relative_to(ROOT)}: {words.total()} ({counts})"


@pytest.mark.parametrize("name", list(LIMITS))
def test_limit(name: str) -> None:
    measured = MEASURES[name]()
    if measured > LIMITS[name]:
        printed = [f"{name}: {measured:g}, where the limit is {LIMITS[name]}", *offenders(name)]
        pytest.fail("\n".join(printed), pytrace=False)


if __name__ == "__main__":
    for name, limit in LIMITS.items():
        print(f"{MEASURES[name]():>8g} {limit:>8} {name}")
