"""Configurable parts: their constructor arguments as plain data, from which a checkpoint rebuilds them, unpickling
nothing.

The description of a part is `{"class": "vlrnn.nn.LSTM", "arguments": {...}}`, nested like the parts. Classes outside
vlrnn are built only if they are trusted (`vlrnn.trust`).
"""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from types import UnionType
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from vlrnn.errors import UserError
from vlrnn.files import nested
from vlrnn.trust import find_trusted, is_foreign

FORMAT = 2
"""The version of descriptions, which checkpoints carry."""

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
PLAIN = (str, int, float, bool, type(None))
"""Types of the values of JSON, but lists and objects."""

_PACKAGES = ("vlrnn.text", "vlrnn.nn", "vlrnn.generation", "vlrnn.training", "vlrnn.tasks")
"""Packages whose public classes a checkpoint may name."""


class Configurable:
    """Base class whose instances have their constructor arguments, including defaults, in `arguments`.

    A method `build` is called once, by the model that the part belongs to; a second call raises a UserError. Classes
    outside vlrnn are checked: for what their base requires, and after `build`.
    """

    required: ClassVar[tuple[str, ...]] = ()
    """Methods and attributes of an interface that its subclasses must define."""

    arguments: dict[str, Any]
    _build_state: Literal["new", "within", "done"] = "new"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in vars(cls):
            cls.build = _only_once(vars(cls)["build"])  # type: ignore[attr-defined]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        check_complete(cls)
        self = super().__new__(cls)
        signature = inspect.signature(cls.__init__)
        bound = signature.bind_partial(self, *args, **kwargs)
        bound.apply_defaults()
        # The first parameter is self; without an __init__ there are only *args and **kwargs.
        _, *named = [name for name, each in signature.parameters.items() if each.kind not in _VARIADIC]
        arguments = {name: bound.arguments[name] for name in named if name in bound.arguments}
        if nothing := [name for name, value in arguments.items() if value is None]:
            _refuse_nothing(cls, nothing)
        object.__setattr__(self, "arguments", arguments)
        return self

    def check_built(self, *sizes: Any, **named_sizes: Any) -> None:
        """Check a part of a class outside vlrnn after `build`, which had these arguments.

        Raises:
            UserError: a method does not return what the interface requires.
        """


def check_complete(part_class: type) -> None:
    """Check that a class outside vlrnn defines what its interface lists in `required`.

    Raises:
        UserError: names the method, its arguments and what it returns.
    """
    if _is_own(part_class):
        return
    for base in part_class.__mro__[1:]:
        for name in vars(base).get("required", ()):
            default = vars(base).get(name)
            if getattr(part_class, name, None) is default:
                what = f"attribute {name}"
                if inspect.isfunction(default):
                    purpose = " ".join((inspect.getdoc(default) or "").partition("\n\n")[0].split())
                    what = f"method {name}{_parameters(default)}: {purpose}"
                raise UserError(f"{part_class.__name__}: {base.__name__} requires the {what}")


def _is_own(part_class: type) -> bool:
    """Whether a class is of vlrnn; tests hold those to their interfaces."""
    return part_class.__module__.partition(".")[0] == "vlrnn"


def _parameters(method: Callable[..., Any]) -> str:
    _, *names = inspect.signature(method).parameters
    return f"({', '.join(names)})"


def _only_once(build: Callable[..., Any]) -> Callable[..., Any]:
    """A method `build` that refuses a second call for the same part; calls of the base class within it are allowed."""

    @wraps(build)
    def build_once(self: Configurable, *args: Any, **kwargs: Any) -> Any:
        if self._build_state == "done":
            raise UserError(
                f"{type(self).__name__}: is already part of a model, and cannot be built for another one; give each "
                "model its own part"
            )
        if self._build_state == "within":
            return build(self, *args, **kwargs)
        _check_takes(type(self), build, args, kwargs)
        object.__setattr__(self, "_build_state", "within")
        try:
            built = build(self, *args, **kwargs)
            if built is not self:
                raise UserError(f"{type(self).__name__}.build must end with `return self`; it returns {built!r:.60}")
            if not _is_own(type(self)):
                self.check_built(*args, **kwargs)
        except BaseException:
            object.__setattr__(self, "_build_state", "new")
            raise
        object.__setattr__(self, "_build_state", "done")
        return built

    return build_once


def _check_takes(part_class: type, build: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise a UserError for a `build` that does not take the arguments of its interface."""
    try:
        inspect.signature(build).bind(None, *args, **kwargs)
    except TypeError:
        base = [each for each in part_class.__mro__ if "build" in vars(each)][-1]
        raise UserError(
            f"{part_class.__name__}.build{_parameters(build)} must take the arguments of {base.__name__}.build"
            f"{_parameters(vars(base)['build'])}"
        ) from None


def _refuse_nothing(part_class: type[Configurable], names: Sequence[str]) -> None:
    """Raise a UserError for a part that is None where none is allowed: the recipe parser lets such a `null` pass."""
    hints = get_type_hints(part_class.__init__)
    for name in names:
        able = _alternatives(hints.get(name))
        wanted = [each.__name__ for each in able if issubclass(each, Configurable)]
        if wanted and type(None) not in able:
            raise UserError(f"{part_class.__name__}: {name} must be {' or '.join(wanted)}, not null")


Kind = TypeVar("Kind", bound=Configurable)


def public_path(part_class: type) -> str:
    """The dotted path of a class by the package that publishes it (`vlrnn.nn.LSTM`), independent of its file; otherwise
    by its module."""
    name = part_class.__qualname__
    for package in _PACKAGES:
        if part_class.__module__.startswith(f"{package}.") and _published(package, name) is part_class:
            return f"{package}.{name}"
    return f"{part_class.__module__}.{name}"


def _published(package: str, name: str) -> Any:
    """The object that a package publishes by this name; None if there is none."""
    module = importlib.import_module(package)
    return getattr(module, name) if name in module.__all__ else None


def to_config(value: Any) -> Any:
    """The description of a part, of plain values, and of lists and mappings of them."""
    if isinstance(value, Configurable):
        return {"class": public_path(type(value)), "arguments": to_config(value.arguments)}
    if isinstance(value, Mapping):
        return {key: to_config(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_config(each) for each in value]
    if isinstance(value, PLAIN):
        return value
    raise UserError(f"a part was built with a {type(value).__name__}, which no checkpoint can describe")


def classes_of(description: Any) -> Iterable[str]:
    """The paths of all classes that a description names."""
    parts = (each.get("class") for each in nested(description) if isinstance(each, dict))
    return (path for path in parts if isinstance(path, str))


def from_config(description: Any, expected: type[Kind], place: str, trust: Sequence[str] = ()) -> Kind:
    """Build the part that `to_config` described.

    Only classes that vlrnn publishes, or that are trusted, and that derive from the expected base are built; the base
    of an argument is the class in its type hint.

    Args:
        description: returned by `to_config`.
        expected: the base class.
        place: the file, for errors.
        trust: packages outside vlrnn whose classes may be named, or paths of classes; see `vlrnn.trust`.

    Raises:
        UserError: no description, a class that is not trusted or of another base, or arguments that do not fit.
    """
    if not isinstance(description, dict) or description.keys() != {"class", "arguments"}:
        raise UserError(f"{place}: does not describe a {expected.__name__}; it was not written by vlrnn")
    path, described = description["class"], description["arguments"]
    part_class = _find_class(path, expected, place, trust)
    if not isinstance(described, dict):
        raise UserError(f"{place}: gives the class {path!r} no arguments; it was not written by vlrnn")
    hints = _hints(part_class, place)
    parts = parts_from_config(part_class, described, place, trust)
    arguments = {}
    for name, value in described.items():
        if parts.get(name) is not None:
            value = parts[name]
        elif isinstance(value, dict) and "class" in value:
            raise UserError(f"{place}: names a class for {name!r} of {path!r}, whose type hint has none; refused")
        if not fits(value, hints.get(name, Any)):
            raise UserError(f"{place}: {value!r:.60} is no {name!r} for {path!r}; it was not written by vlrnn")
        arguments[name] = value
    try:
        return part_class(**arguments)
    except Exception as fault:  # arguments from an untrusted file can cause any exception
        reason = " ".join(str(fault).split()) or type(fault).__name__
        raise UserError(f"{place}: cannot build {path!r}: {reason}") from None


def parts_from_config(
    part_class: type[Configurable], described: Mapping[str, Any], place: str, trust: Sequence[str] = ()
) -> dict[str, Any]:
    """Build those of a class's arguments that are parts, by their type hints; None for one that may be missing and is.

    Args:
        part_class: the class.
        described: name -> description.
        place, trust: as for `from_config`, which raises what is wrong.
    """
    hints = _hints(part_class, place)
    parts: dict[str, Any] = {}
    for name, value in described.items():
        able = _alternatives(hints.get(name))
        if bases := [each for each in able if issubclass(each, Configurable)]:
            missing = value is None and type(None) in able
            parts[name] = None if missing else from_config(value, bases[0], place, trust)
    return parts


def _hints(part_class: type[Configurable], place: str) -> dict[str, Any]:
    try:
        return get_type_hints(part_class.__init__)
    except Exception as fault:  # of a class outside vlrnn, as for names that its module lacks
        path = public_path(part_class)
        raise UserError(f"{place}: the type hints of {path!r} cannot be read: {' '.join(str(fault).split())}") from None


def _find_class(path: Any, expected: type[Kind], place: str, trust: Sequence[str]) -> type[Kind]:
    if isinstance(path, str) and is_foreign(path):
        found = find_trusted(path, trust, place)
        if not (isinstance(found, type) and issubclass(found, expected) and public_path(found) == path):
            raise UserError(f"{place}: names the class {path!r}, which is no {expected.__name__} defined there")
        return found
    package, _, name = path.rpartition(".") if isinstance(path, str) else ("", "", "")
    found = _published(package, name) if package in _PACKAGES else None
    if not (isinstance(found, type) and issubclass(found, expected)):
        raise UserError(f"{place}: names the class {path!r}, which is no {expected.__name__} of vlrnn; refused")
    return found


def fits(value: Any, hint: Any) -> bool:
    """Whether a value fits a type hint of plain values; true for any other hint."""
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in PLAIN:
        return isinstance(value, hint)
    origin, members = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(fits(value, member) for member in members)
    if origin is Literal:
        return value in members
    if origin in (list, tuple, Sequence):
        return isinstance(value, (list, tuple)) and all(fits(each, members[0]) for each in value)
    return True


def _alternatives(hint: Any) -> list[type]:
    """The classes that a type hint names: itself, or the members of a union."""
    members = getattr(hint, "__args__", ()) or (hint,)
    return [member for member in members if isinstance(member, type)]
