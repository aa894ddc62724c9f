"""Which modules code imports, read from its source or its byte code; nothing is executed."""

from __future__ import annotations

import ast
import dis
import importlib.util
import re
import warnings
from collections.abc import Iterable, Iterator
from types import CodeType

__all__ = ["glance_at_imports", "imports_of_code", "imports_of_source", "nested_code"]

_CALLS = ("import_module", "__import__")
_STATEMENT = re.compile(
    r"(?:^|[;:])(?:\\\n|[ \t])*(?:from(?:\\\n|[ \t])+([.\w]+)(?:\\\n|[ \t])*import\b|import(?:\\\n|[ \t])+([^\n#;]+))",
    re.M,
)


def glance_at_imports(source: bytes) -> set[str]:
    """What `imports_of_source` could find, in a fiftieth of its time and less exactly.

    Gives the modules that import statements name, relative ones with their dots, those in texts and comments included;
    and ``""`` where a module may be named in a call.
    """
    text = source.decode("utf-8", "replace")
    found: set[str] = set()
    for base, several in _STATEMENT.findall(text):
        found.update([base] if base else (part.split()[0] for part in several.split(",") if part.strip()))
    if any(call in text for call in _CALLS):
        found.add("")
    return found


def imports_of_source(source: bytes, filename: str, package: str | None) -> set[str]:
    """Names of modules that a source file may import, anywhere in it.

    For ``from a import b`` these are ``a`` and ``a.b``, which may be an attribute and no module. Calls of
    ``import_module`` and ``__import__`` with a literal name count. A file that Python cannot parse imports nothing:
    it cannot be imported itself.

    Args:
        package: the package that relative imports start from.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the author hears them when the module is imported
            tree = ast.parse(source, filename)
    except (SyntaxError, ValueError):
        return set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update(_from(node.module or "", node.level, (alias.name for alias in node.names), package))
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
            value = node.args[0].value
            if name in _CALLS and isinstance(value, str) and _is_name(value.lstrip(".")):
                level = len(value) - len(value.lstrip("."))
                found.update(_from(value[level:], level, (), package))
    return found


def imports_of_code(code: CodeType, package: str | None) -> set[str]:
    """The same for byte code, for functions of which there may be no source."""
    found: set[str] = set()
    for part in nested_code(code):
        if "IMPORT_NAME" not in {dis.opname[number] for number in set(part.co_code[::2])}:
            found.update(_called(part))
            continue
        before: list[object] = [None, None]
        for instruction in dis.get_instructions(part):
            if instruction.opname == "IMPORT_NAME":
                level, names = before[-2:]
                found.update(
                    _from(
                        instruction.argval,
                        level if isinstance(level, int) else 0,
                        names if isinstance(names, tuple) else (),
                        package,
                    )
                )
            elif instruction.opname.startswith("LOAD_"):
                before.append(instruction.argval)
        found.update(_called(part))
    return found


def _called(code: CodeType) -> Iterator[str]:
    """Texts that a function which calls ``import_module`` may call it with."""
    if any(name in code.co_names for name in _CALLS):
        for constant in code.co_consts:
            if isinstance(constant, str) and _is_name(constant):
                yield constant


def _is_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _from(module: str, level: int, names: Iterable[str], package: str | None) -> Iterator[str]:
    if level:
        try:
            base = importlib.util.resolve_name("." * level + module, package or "")
        except ImportError:
            return  # it would fail where it runs, too
    else:
        base = module
    yield base
    for name in names:
        if name != "*":
            yield f"{base}.{name}"


def nested_code(code: CodeType) -> Iterator[CodeType]:
    """A piece of code and all that is defined inside it: functions, classes, comprehensions."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested_code(constant)
