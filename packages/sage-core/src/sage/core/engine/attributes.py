"""A function's attributes as its state: which of them are, and how they are saved and laid over a new instance."""

from __future__ import annotations

import gc
import io
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from sage.core.engine.context import RuntimeContext
from sage.core.engine.keyed_state import KeyedState
from sage.core.engine.saving import load
from sage.core.engine.services import Handle
from sage.core.errors import StateError

__all__ = ["Attributes", "lay_over", "load_attributes"]

_ENGINES = frozenset({"context", "logger"})

_NO_STATE = (KeyedState, Handle, RuntimeContext)

_CODE = (FunctionType, BuiltinFunctionType, MethodType, ModuleType, type)
"""What is code of itself comes with the program and is no state, unless it can be saved by its name."""

_UNSAVABLE = (Exception, SystemExit)
"""What the user's ``__reduce__`` may raise: one that exits says no more than that its object cannot be saved."""


class Attributes:
    """The attributes of one function.

    All are state, except those named in its class's ``transient``, those that the engine sets, and those that were
    bound in ``open()`` and cannot be pickled: connections, locks, files. The next ``open()`` makes them anew. What
    belongs to an event loop is never state.

    To ask an object for its ``__dict__`` makes every later access to its attributes slower in CPython up to 3.12. So
    until something is really to be saved, the values alone are looked at, which the garbage collector tells.

    Args:
        function: the function, as its constructor left it.
    """

    def __init__(self, function: Any) -> None:
        self._function = function
        self._before_open = gc.get_referents(function)
        # Some have their __dict__ already, and are told by that.
        self._before_open += [item for held in self._before_open if type(held) is dict for item in held.values()]
        transient = getattr(type(function), "transient", ())
        if isinstance(transient, str):
            raise StateError(
                f"transient must be a collection of names, not the text {transient!r}",
                hint=f"transient = ({transient!r},)",
            )
        self._left_out = {*_ENGINES, *transient}

    def check(self) -> None:
        """After ``open()``, before the first record: see that all can be saved. Called once.

        Raises:
            StateError: one cannot be pickled; it is named.
        """
        before, self._before_open = self._before_open, []
        values = [value for value in gc.get_referents(self._function) if not isinstance(value, (*_NO_STATE, *_CODE))]
        try:
            _dump(values, _Nowhere(), self._function)
        except _UNSAVABLE:  # now by name, since some may be left out
            made_before = {id(value) for value in before}
            for name, value, reason in self._culprits():
                if id(value) in made_before:
                    raise _unsaved(name, reason) from reason
                self._left_out.add(name)

    def save(self, most: int | None = None) -> bytes:
        """All attributes that are state, in one pickle, so that what they share stays shared.

        Args:
            most: bytes that they may take.

        Raises:
            StateError: one cannot be pickled, or they are too large; it is named.
        """
        try:
            saved = _pickled(self._state(), self._function)
        except _UNSAVABLE as error:
            for name, _, reason in self._culprits():
                raise _unsaved(name, reason) from reason
            raise StateError(
                f"its attributes cannot be saved: {type(error).__name__}: {error}",
                hint="each of them can, but not together: name what is no state in the class's `transient`",
            ) from error
        if most is not None and len(saved) > most:
            sizes = {name: len(_pickled(value, self._function)) for name, value in self._state().items()}
            name = max(sizes, key=lambda name: sizes[name])
            raise StateError(
                f"its state takes {len(saved):,} bytes, {most:,} are allowed; the largest attribute is '{name}' with"
                f" {sizes[name]:,}",
                hint=f"name it in the class's `transient` if it can be made anew: transient = ({name!r},)",
                attribute=name,
            )
        return saved

    def share_out(self, states: Sequence[Mapping[str, Any]], subtask: int, parallelism: int) -> Mapping[str, Any]:
        """What is to be laid over in ``subtask``, where there were other subtasks before, which had ``states``.

        The class says so in ``split_state(states, n)``; without it only attributes that are as `open` has left them in
        this function can go from any number of subtasks to any other.

        Raises:
            StateError: they are not, or ``split_state`` gives something else than a mapping for each subtask.
        """
        split = getattr(type(self._function), "split_state", None)
        if split is None:
            changed = next((name for state in states for name in state if self._is_changed(name, state[name])), None)
            if changed is not None:
                raise StateError(
                    f"its attribute '{changed}' was saved by {len(states)} subtasks, and cannot be shared out among"
                    f" {parallelism}",
                    hint="run it with the parallelism it had, keep what belongs to keys in keyed state, or give the"
                    " class a static method split_state(states, n)",
                    attribute=changed,
                )
            return {}
        parts = list(split([dict(state) for state in states], parallelism))
        if len(parts) != parallelism or not all(isinstance(part, Mapping) for part in parts):
            raise StateError(
                f"split_state(states, {parallelism}) must return {parallelism} mappings, not {parts!r:.200}",
                hint="return a list with the attributes of each of the n subtasks, by name",
            )
        part: Mapping[str, Any] = parts[subtask]
        return part

    def _is_changed(self, name: str, value: Any) -> bool:
        now = _values(self._function)
        if name not in now:
            return True
        try:
            same = _pickled(now[name], self._function) == _pickled(value, self._function) or bool(now[name] == value)
        except Exception:  # what cannot be compared may have changed
            return True
        return not same

    def _culprits(self) -> Iterator[tuple[str, Any, BaseException]]:
        """Attributes that are state and cannot be pickled, and why."""
        for name, value in self._state().items():
            try:
                _dump(value, _Nowhere(), self._function)
            except _UNSAVABLE as reason:
                yield name, value, reason

    def _state(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in _values(self._function).items()
            if name not in self._left_out
            and not isinstance(value, _NO_STATE)
            and not _is_of_a_loop(value)
            and not self._is_mere_code(value)
        }

    def _is_mere_code(self, value: Any) -> bool:
        """Whether it is code that comes with the program, and has no name to be found by."""
        if not isinstance(value, _CODE):
            return False
        try:
            _dump(value, _Nowhere(), self._function)
        except Exception:  # whatever the reason: it need not be saved
            return True
        return False


def _unsaved(name: str, reason: BaseException) -> StateError:
    return StateError(
        f"its attribute '{name}' cannot be saved: {type(reason).__name__}: {reason}",
        hint=f"attributes are state: make it in open(), or name it in the class's `transient`: transient = ({name!r},)",
        attribute=name,
    )


def _is_of_a_loop(value: Any) -> bool:
    """Whether it is a lock, a queue or a task of asyncio: saved while it is held, it would never be free again."""
    return type(value).__module__.partition(".")[0] == "asyncio"


def load_attributes(saved: bytes, function: Any) -> dict[str, Any]:
    """What `Attributes.save` has saved; where it held the function itself, there is ``function`` now.

    Raises:
        StateError: it cannot be loaded, for example since a class is not there any more.
    """
    loaded: dict[str, Any] = load(saved, "its saved attributes", lambda source: _Unpickler(source, function))
    return loaded


def lay_over(function: Any, attributes: Mapping[str, Any]) -> None:
    """Set attributes on a function, also on one that is a frozen dataclass."""
    for name, value in attributes.items():
        object.__setattr__(function, name, value)


def _values(function: Any) -> dict[str, Any]:
    """The attributes of an object, those in slots included."""
    found: dict[str, Any] = {}
    for kind in reversed(type(function).__mro__):
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            name = f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
            if name not in ("__dict__", "__weakref__") and hasattr(function, name):
                found[name] = getattr(function, name)
    found.update(getattr(function, "__dict__", ()))
    return found


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, data: Any) -> int:
        return len(data)


def _this_function() -> Any:
    """Stands in a pickle for the function whose attributes it holds."""
    raise pickle.UnpicklingError("only load_attributes() can tell which function this is")


class _Pickler(pickle.Pickler):
    def __init__(self, target: io.BytesIO | _Nowhere, function: Any, buffers: Callable[[Any], Any] | None) -> None:
        super().__init__(target, protocol=5, buffer_callback=buffers)
        self._function = function

    def reducer_override(self, value: Any) -> Any:
        if value is self._function:
            return _this_function, ()
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, source: io.BytesIO, function: Any) -> None:
        super().__init__(source)
        self._function = function

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == (__name__, _this_function.__name__):
            return lambda: self._function
        return super().find_class(module, name)


def _dump(value: Any, target: io.BytesIO | _Nowhere, function: Any) -> None:
    # A trial need not copy large buffers: out of band they are only looked at.
    buffers = (lambda _: None) if isinstance(target, _Nowhere) else None
    _Pickler(target, function, buffers).dump(value)


def _pickled(value: Any, function: Any) -> bytes:
    target = io.BytesIO()
    _dump(value, target, function)
    return target.getvalue()
