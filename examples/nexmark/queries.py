"""All queries by name: the pipeline that puts out what `direct` computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import q0
import q1
import q2
import q3
import q4
import q5
import q6
import q7
import q8
import q11
from events import Event

from sage.core.api import DataStream, Environment

__all__ = ["PIPELINES"]

PIPELINES: Mapping[str, Callable[[Environment, Iterable[Event], int], DataStream[Any]]] = {
    "q0": q0.pipeline,
    "q1": q1.pipeline,
    "q2": q2.pipeline,
    "q3": q3.pipeline,
    "q4": q4.pipeline,
    "q5": q5.pipeline,
    "q6": q6.pipeline,
    "q7": q7.pipeline,
    "q8": q8.pipeline,
    "q11": q11.pipeline,
}
