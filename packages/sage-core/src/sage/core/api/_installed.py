"""Describes sources and sinks of installed connectors, which users reach by name; options are judged at once."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from sage.core.errors import ConnectorError
from sage.core.graph.functions import Given, Slip, describe_connector
from sage.core.graph.model import FunctionSpec

__all__ = ["installed_sink", "installed_source"]


def installed_source(name: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> Given:
    """The source of the installed connector `name`.

    Raises:
        PluginError: there is none, or it is broken.
    """
    return _describe(name, args, options, "source", "read")


def installed_sink(name: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> Given:
    """The sink of the installed connector `name`.

    Raises:
        PluginError: there is none, or it is broken.
    """
    return _describe(name, args, options, "sink", "write")


def _describe(name: str, args: tuple[Any, ...], options: Mapping[str, Any], what: str, kind: str) -> Given:
    from sage.core.plugins import connector

    make = getattr(connector(name), what, None)
    if not callable(make):
        only = "writes" if what == "source" else "reads"
        return _wrong(name, f"the connector '{name}' only {only}: it has no {what}(…)")
    if args:
        return _wrong(name, f"the connector '{name}' takes its options by name, and one is given without")
    try:
        inspect.signature(make).bind(**options)
        made = make(**options)
    except ConnectorError as error:
        return _wrong(name, error.message, error.hint)
    except (TypeError, ValueError) as error:
        return _wrong(name, f"the {what} of the connector '{name}' does not take these options: {error}")
    given = describe_connector(made, (), {}, kind)
    return Given(given.spec, name, given.slips)


def _wrong(name: str, message: str, hint: str | None = None) -> Given:
    return Given(FunctionSpec("instance", name), name, (Slip(message, hint),))
