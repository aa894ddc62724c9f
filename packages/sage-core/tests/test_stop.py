"""`STOP` is one object, however it travels."""

from __future__ import annotations

import copy
import pickle

import cloudpickle  # type: ignore[import-untyped]
import pytest

from sage.core.api import STOP
from sage.core.engine.stop import StopType


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_gives_the_same_object(protocol: int) -> None:
    """Sources compare by identity, so identity survives, alone and inside other objects."""
    assert pickle.loads(pickle.dumps(STOP, protocol)) is STOP
    assert pickle.loads(pickle.dumps([STOP, {"a": STOP}], protocol))[1]["a"] is STOP
    assert pickle.loads(cloudpickle.dumps(STOP, protocol)) is STOP


def test_copying_gives_the_same_object() -> None:
    """Instances are copied for each subtask, and may hold it."""
    assert copy.copy(STOP) is STOP
    assert copy.deepcopy([STOP])[0] is STOP
    assert StopType() is STOP
    assert repr(STOP) == "STOP"
