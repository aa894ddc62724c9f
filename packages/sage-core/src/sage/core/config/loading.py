"""From file, environment and arguments to one checked `Config`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from sage.core.config.documents import parse_value, read_document
from sage.core.config.kinds import Invalid, Kind, Leaf, ListOf, Record
from sage.core.config.places import config_path
from sage.core.config.problems import ConfigProblem, FieldPath, config_error, nearest, parse_path, path_text
from sage.core.config.schema import Config, Daemon
from sage.core.errors import ConfigError

__all__ = ["check_path", "load", "validate_value"]

_ROOT = Record(Config)
_PREFIX = "SAGE_"
_BAD = object()


def load(
    path: Path | None = None,
    *,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Config:
    """The configuration in force: `overrides`, else variables ``SAGE_<SECTION>__<FIELD>``, the file, the defaults.

    Args:
        path: the file, which must be there; None means ``config.yaml`` in SAGE_HOME, which may be absent.
        env: the variables; None means those of this process.
        overrides: values by path, ``{"daemon.port": 19002}``, as command line options give them.

    Raises:
        ConfigError: anything in any of them is wrong. All problems are told at once, unless the file is no YAML at all.
    """
    env = os.environ if env is None else env
    file = config_path(env) if path is None else path
    if path is not None and not path.exists():
        raise config_error([ConfigProblem("", "there is no such file", str(path), "sage config init writes one")])
    document = read_document(file)
    draft = _Draft(document.data, {entry: f"{file}:{line}" for entry, line in document.lines.items()}, str(file))
    problems: list[ConfigProblem] = []
    for name, target in _variables(env, problems):
        kind = _kind_at(target)
        try:
            draft.put(target, _from_text(kind, env[name], name), name)
        except ConfigError as error:
            problems.extend(ConfigProblem(path_text(target), each.message, name) for each in _problems_of(error))
    for text, value in (overrides or {}).items():
        target = parse_path(text)
        wrong = _unknown(target, "override")
        if wrong is not None:
            problems.append(wrong)
        else:
            draft.put(target, value, "override")
    config = _build(_ROOT, draft.data, (), draft, problems)
    if not problems:
        problems.extend(_across(config, draft))
    if problems:
        raise config_error(problems)
    return cast("Config", config)


def validate_value(path: str, text: str) -> Any:
    """Check `text`, a value as typed at a command line, for the setting at `path`.

    Returns:
        the value as it should stand in the file (plain YAML data: ``"30s"``, ``19001``, a list).

    Raises:
        ConfigError: there is no such setting, or the value is not of its kind.
    """
    target = parse_path(path)
    check_path(target)
    kind = _kind_at(target)
    value = _from_text(kind, text, path)
    problems: list[ConfigProblem] = []
    _build(kind, value, target, _Draft(None, {}, None), problems)
    if problems:
        raise config_error(problems)
    return value


def check_path(path: FieldPath) -> None:
    """Return if there is such a setting, section or item.

    Raises:
        ConfigError: there is none; the hint names the nearest.
    """
    wrong = _unknown(path, None)
    if wrong is not None:
        raise config_error([wrong])


class _Draft:
    """The unchecked tree while layers are laid over it, and where each entry came from."""

    def __init__(self, data: Any, origins: dict[FieldPath, str], default_origin: str | None) -> None:
        self.data = data
        self._origins = origins
        self._default_origin = default_origin

    def put(self, path: FieldPath, value: object, origin: str) -> None:
        """Set one entry. Where a higher entry is no mapping, it stays as it is: `_build` will tell."""
        if self.data is None:
            self.data = {}
        node = self.data
        for part in path[:-1]:
            if isinstance(node, dict) and node.get(part) is None:
                node[part] = {}
            try:
                node = node[part]
            except (TypeError, IndexError, KeyError):
                return
        try:
            node[path[-1]] = value
        except (TypeError, IndexError):
            return
        for entry in [entry for entry in self._origins if entry[: len(path)] == path]:
            del self._origins[entry]
        self._origins[path] = origin

    def origin(self, path: FieldPath) -> str | None:
        for length in range(len(path), 0, -1):
            if path[:length] in self._origins:
                return self._origins[path[:length]]
        return self._default_origin


def _build(kind: Kind[Any], value: object, path: FieldPath, draft: _Draft, problems: list[ConfigProblem]) -> Any:
    """`value` checked and made into what the program works with; what is wrong is added to `problems`."""
    try:
        if isinstance(kind, Record):
            return _build_record(kind, kind.items(value), path, draft, problems)
        if isinstance(kind, ListOf):
            items = kind.items(value)
            return tuple(_build(kind.kind, item, (*path, n), draft, problems) for n, item in enumerate(items))
        if isinstance(kind, Leaf):
            return kind.check(value)
        raise TypeError(f"{kind!r} is neither a leaf nor a container")
    except Invalid as error:
        problems.append(ConfigProblem(path_text(path), str(error), draft.origin(path)))
        return _BAD


def _build_record(
    kind: Record[Any], entries: Mapping[Any, object], path: FieldPath, draft: _Draft, problems: list[ConfigProblem]
) -> Any:
    arguments = {}
    for key, value in entries.items():
        entry = (*path, key if isinstance(key, str) else str(key))
        if key in kind.fields:
            arguments[key] = _build(kind.kind(key), value, entry, draft, problems)
        else:
            problems.append(_unknown_key(entry, kind, draft.origin(entry)))
    missing = [name for name in kind.required if name not in arguments]
    problems.extend(ConfigProblem(path_text((*path, name)), "is missing", draft.origin(path)) for name in missing)
    if missing or _BAD in arguments.values():
        return _BAD
    return kind.cls(**arguments)


def _unknown_key(path: FieldPath, kind: Record[Any], where: str | None) -> ConfigProblem:
    """The problem of a key that is not there, with what it may have been meant to be."""
    key = str(path[-1])
    found = nearest(key, kind.fields)
    if found is not None:
        return ConfigProblem(path_text(path), "is no setting", where, f"did you mean {found}?")
    homes = [entry for entry in _leaves(_ROOT, ()) if entry[-1] == key]
    if homes:
        return ConfigProblem(path_text(path), "is no setting", where, f"did you mean {path_text(homes[0])}?")
    place = path_text(path[:-1]) or "the configuration"
    return ConfigProblem(path_text(path), "is no setting", where, f"{place} has {', '.join(kind.fields)}")


def _leaves(kind: Record[Any], path: FieldPath) -> Iterator[FieldPath]:
    for name in kind.fields:
        inner = kind.kind(name)
        if isinstance(inner, Record):
            yield from _leaves(inner, (*path, name))
        else:
            yield (*path, name)


def _kind_at(path: FieldPath) -> Kind[Any]:
    """The kind of the setting at a path that `_unknown` finds nothing wrong with."""
    kind: Kind[Any] = _ROOT
    for part in path:
        if isinstance(kind, Record):
            kind = kind.kind(str(part))
        elif isinstance(kind, ListOf):
            kind = kind.kind
    return kind


def _unknown(path: FieldPath, where: str | None) -> ConfigProblem | None:
    """What is wrong with `path` as a path of the schema."""
    kind: Kind[Any] = _ROOT
    for depth, part in enumerate(path):
        if isinstance(kind, Record) and isinstance(part, str):
            if part not in kind.fields:
                return _unknown_key(path[: depth + 1], kind, where)
            kind = kind.kind(part)
        elif isinstance(kind, ListOf) and isinstance(part, int):
            kind = kind.kind
        else:
            return ConfigProblem(path_text(path), f"is no setting: {path_text(path[:depth])} is {kind.text}", where)
    return None


def _variables(env: Mapping[str, str], problems: list[ConfigProblem]) -> Iterator[tuple[str, FieldPath]]:
    """Names and paths of the variables that set something; misspelled ones are problems."""
    for name in sorted(env):
        section, separator, _ = name.removeprefix(_PREFIX).partition("__")
        if not name.startswith(_PREFIX) or not separator or not section:
            continue
        path: FieldPath = tuple(part.lower() for part in name.removeprefix(_PREFIX).split("__"))
        if name == name.upper() and _unknown(path, name) is None:
            yield name, path
            continue
        known = {_PREFIX + "__".join(str(part) for part in leaf).upper() for leaf in _leaves(_ROOT, ())}
        found = nearest(name.upper(), known)
        hint = f"did you mean {found}?" if found else "unset it, or see the reference for the settings there are"
        problems.append(ConfigProblem(path_text(path), "is no setting", name, hint))


def _from_text(kind: Kind[Any], text: str, where: str) -> Any:
    """A value given as text: YAML, save that a setting which takes text gets a bare number or word as it is written."""
    value = parse_value(text, where)
    if kind.takes_text and value is not None and not isinstance(value, str | list | dict):
        return text.strip()
    return value


def _problems_of(error: ConfigError) -> Sequence[ConfigProblem]:
    found: Sequence[ConfigProblem] = error.problems
    return found


def _across(config: Config, draft: _Draft) -> Iterator[ConfigProblem]:
    """Rules that take more than one field to see."""
    daemon = config.daemon
    if not _is_loopback(daemon.bind) and not daemon.allow_plaintext and daemon.tls.cert is None:
        yield ConfigProblem(
            "daemon -> bind",
            f"{daemon.bind} is reachable from other hosts, and there is neither TLS nor leave to do without",
            draft.origin(("daemon", "bind")),
            "set daemon.tls.cert and daemon.tls.key; or daemon.allow_plaintext: true in a network you trust",
        )
    yield from _certificate_and_key(daemon, draft)


def _certificate_and_key(daemon: Daemon, draft: _Draft) -> Iterator[ConfigProblem]:
    for have, lack in (("cert", "key"), ("key", "cert")):
        if getattr(daemon.tls, have) is not None and getattr(daemon.tls, lack) is None:
            where = draft.origin(("daemon", "tls", have))
            yield ConfigProblem(f"daemon -> tls -> {lack}", f"is missing, though {have} is set", where)


def _is_loopback(host: str) -> bool:
    if host in ("127.0.0.1", "localhost", "::1"):
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
