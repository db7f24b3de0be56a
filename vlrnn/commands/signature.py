"""Flags of a command from the signature of a function, and their help from its docstring.

    function = Signature("vlrnn.probes.chair.probe_chair")
    parser = subparsers.add_parser("chair", help=function.summary)
    function.add_flags(parser)
    result = function.call(parser.parse_args())

The signature is read from the source text: help imports neither the module of the function nor torch. What a parameter
becomes:

- `name: int` becomes the flag `--name`, required unless it has a default. A parameter before `/` is a positional
  argument.
- Its type is str, int, float or Path; of a union (`str | Path`, `int | None`) the first that is not None.
  `Literal["a", "b"]` has choices; `Sequence[X]`, `list[X]` and `tuple[X, ...]` take one value or more.
- A `bool` that is False by default is a flag without a value; one that is True has `--no-name` too.
- A dataclass becomes the flags of its fields, whose help is in its own docstring.
- A default is a literal or the name of a constant. Types and constants may be imported from other modules of vlrnn.
- Its help is the text behind `name:` (or `name, other:`) in the section `Args:`, and its default.
"""

import argparse
import ast
import importlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import vlrnn

_TYPES: dict[str, Callable[[str], Any]] = {"str": str, "int": int, "float": float, "bool": bool, "Path": Path}
_LISTS = ("Sequence", "list", "tuple")
_REQUIRED = object()


@dataclass(frozen=True)
class ParameterType:
    """The type of a parameter.

    Args:
        convert: from text to a value; None of a type that no flag can have.
        many: whether it is a sequence.
        choices: the allowed values; by default all.
        is_path: whether it is a path of a file or folder.
        fields: of a dataclass; a flag for each.
    """

    convert: Callable[[str], Any] | None = str
    many: bool = False
    choices: tuple[Any, ...] | None = None
    is_path: bool = False
    fields: "Signature | None" = None


@dataclass(frozen=True)
class Parameter:
    """A parameter of a function: `default` is `_REQUIRED` without one, `positional` stands before `/`."""

    name: str
    type: ParameterType
    default: Any
    help: str
    positional: bool

    def add(self, parser: argparse.ArgumentParser, options: Mapping[str, Any]) -> None:
        """Add it to a parser; `options` replace the arguments of `add_argument` that are due to its type."""
        assert self.type.convert or "type" in options, f"{self.name}: its type is not supported for a flag"
        optional = self.default is not _REQUIRED
        many = self.type.many and "type" not in options and options.get("action") != "append"
        given: dict[str, Any] = {"help": self._help(" " if many else ",")}
        if self.type.convert is bool:
            given["action"] = argparse.BooleanOptionalAction if self.default else "store_true"
        else:
            given |= {"type": self.type.convert, "choices": self.type.choices}
            if many:
                given["nargs"] = "*" if self.positional and optional else "+"
            elif self.positional and optional:
                given["nargs"] = "?"
            if self.type.is_path:
                given["metavar"] = "PATH"
        if optional:
            given["default"] = list(self.default) if isinstance(self.default, tuple) else self.default
        if not self.positional:
            given["required"] = not optional
        given |= options
        parser.add_argument(self.name if self.positional else f"--{self.name}", **given)

    def _help(self, separator: str) -> str:
        text = self.help.removesuffix(".")
        if not (self.default is _REQUIRED or self.default is False or self.default in (None, "", (), [])):
            default = separator.join(map(str, self.default)) if self.type.many else self.default
            text = f"{text} (default {default})".strip()
        return text.replace("%", "%%")


@dataclass(frozen=True)
class Signature:
    """A function of vlrnn, or a dataclass, as a command.

    Args:
        path: its name: `vlrnn.MODULE.NAME`.
    """

    path: str

    @property
    def summary(self) -> str:
        """The first sentence of the docstring, without its period."""
        text = " ".join(self._docstring.partition("\n\n")[0].split())
        return re.split(r"(?<=[.?])\s", text)[0].removesuffix(".")

    @property
    def parameters(self) -> list[Parameter]:
        """In the order of the signature."""
        module, node = self._definition
        texts = _args_section(self._docstring)
        return [
            Parameter(name, _read_type(module, annotation), default, texts.get(name, ""), positional)
            for name, annotation, default, positional in _signature(module, node)
        ]

    def add_flags(
        self, parser: argparse.ArgumentParser, skip: Collection[str] = (), **options: Mapping[str, Any]
    ) -> None:
        """Add the parameters to a parser.

        Args:
            parser: to add to.
            skip: parameters that the caller adds by itself, or leaves to their defaults.
            options: parameter -> arguments of `add_argument` that replace those of its type:
                `config={"action": "append"}`.
        """
        for parameter in self.parameters:
            if parameter.type.fields:
                parameter.type.fields.add_flags(parser, skip, **options)
            elif parameter.name not in skip:
                parameter.add(parser, options.get(parameter.name, {}))

    def call(self, arguments: argparse.Namespace) -> Any:
        """Import the function, and call it with the arguments that are its parameters."""
        positional, named = [], {}
        for parameter in self.parameters:
            if parameter.type.fields:
                value = parameter.type.fields.call(arguments)
            elif hasattr(arguments, parameter.name):
                value = getattr(arguments, parameter.name)
            else:
                continue
            if parameter.positional:
                positional.append(value)
            else:
                named[parameter.name] = value
        module, _, name = self.path.rpartition(".")
        return getattr(importlib.import_module(module), name)(*positional, **named)

    @property
    def _definition(self) -> tuple[str, ast.FunctionDef | ast.ClassDef]:
        module, _, name = self.path.rpartition(".")
        place, node = _find(module, name)
        assert isinstance(node, ast.FunctionDef | ast.ClassDef), f"{self.path}: neither a function nor a class"
        return place, node

    @property
    def _docstring(self) -> str:
        return ast.get_docstring(self._definition[1]) or ""


def _args_section(docstring: str) -> dict[str, str]:
    """Parameter -> its text in the section `Args:`."""
    texts: dict[str, str] = {}
    names: list[str] = []
    for line in docstring.partition("Args:\n")[2].splitlines():
        if not line.startswith(" "):
            break
        if entry := re.match(r" {4}((?:\w+, )*\w+): (.*)", line):
            names = entry[1].split(", ")
            texts |= dict.fromkeys(names, entry[2])
        else:
            texts |= dict.fromkeys(names, f"{texts[names[0]]} {line.strip()}")
    return texts


@cache
def _tree(module: str) -> ast.Module:
    file = Path(vlrnn.__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
    return ast.parse(file.read_text("utf-8"))


def _find(module: str, name: str) -> tuple[str, ast.AST]:
    """The definition or the expression of a name of a module, and the module in which it is written."""
    for node in _tree(module).body:
        match node:
            case ast.FunctionDef(name=found) | ast.ClassDef(name=found) if found == name:
                return module, node
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                return module, value
            case ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as value) if found == name:
                return module, value
            case ast.ImportFrom(module=str(source)) if source.startswith("vlrnn."):
                for alias in node.names:
                    if name == (alias.asname or alias.name):
                        return _find(source, alias.name)
    raise LookupError(f"{module} has no {name}, nor imports it from vlrnn")


def _signature(module: str, node: ast.FunctionDef | ast.ClassDef) -> Iterator[tuple[str, ast.expr, Any, bool]]:
    """Name, annotation, default and whether it is positional of each parameter, or of each field of a dataclass."""
    if isinstance(node, ast.ClassDef):
        for field in node.body:
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                yield field.target.id, field.annotation, _default(module, field.value), False
        return
    ordered = [*node.args.posonlyargs, *node.args.args]
    defaults = [None] * (len(ordered) - len(node.args.defaults)) + node.args.defaults + node.args.kw_defaults
    for place, (each, default) in enumerate(zip([*ordered, *node.args.kwonlyargs], defaults, strict=True)):
        assert each.annotation, f"{module}.{node.name}: {each.arg} has no type"
        yield each.arg, each.annotation, _default(module, default), place < len(node.args.posonlyargs)


def _default(module: str, node: ast.expr | None) -> Any:
    if isinstance(node, ast.Name):
        place, value = _find(module, node.id)
        assert isinstance(value, ast.expr)
        return _default(place, value)
    return _REQUIRED if node is None else ast.literal_eval(node)


def _read_type(module: str, node: ast.AST) -> ParameterType:
    match node:
        case ast.Constant(value=str(text)):
            return _read_type(module, ast.parse(text, mode="eval").body)
        case ast.Name(id=name) if name in _TYPES:
            return ParameterType(_TYPES[name], is_path=name == "Path")
        case ast.Name(id=name):
            place, found = _find(module, name)
            if isinstance(found, ast.ClassDef):
                return ParameterType(fields=Signature(f"{place}.{name}"))
            return _read_type(place, found)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            parts = (each for each in (left, right) if not (isinstance(each, ast.Constant) and each.value is None))
            types = [_read_type(module, each) for each in parts]
            return replace(types[0], is_path=any(each.is_path for each in types))
        case ast.Subscript(value=ast.Name(id="Literal"), slice=values):
            choices = tuple(map(ast.literal_eval, values.elts if isinstance(values, ast.Tuple) else [values]))
            return ParameterType(type(choices[0]), choices=choices)
        case ast.Subscript(value=ast.Name(id=name), slice=element) if name in _LISTS:
            first = element.elts[0] if isinstance(element, ast.Tuple) else element
            return replace(_read_type(module, first), many=True)
    return ParameterType(convert=None)
