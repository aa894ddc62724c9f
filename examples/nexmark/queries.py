"""All queries by name: the pipeline that puts out what `direct` computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import q0
import q1
import q2
import q3
from events import Event

from sage.core.api import DataStream, Environment

__all__ = ["PIPELINES"]

PIPELINES: Mapping[str, Callable[[Environment, Iterable[Event], int], DataStream[Any]]] = {
    "q0": q0.pipeline,
    "q1": q1.pipeline,
    "q2": q2.pipeline,
    "q3": q3.pipeline,
}
