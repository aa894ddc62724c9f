"""The exceptions of SAGE, sorted by whose fault it is.

::

    SageError
    ├── PipelineError              your program describes something that cannot run        (exit 9)
    │   ├── GraphError             one or more problems in the graph, all listed
    │   │   └── CapabilityError    the backend does not offer what the graph needs
    │   ├── PackagingError         something in the graph cannot travel to a job's process
    │   ├── UnsupportedKeyError    a value that cannot be a key
    │   ├── StateError             state that cannot be declared, saved or restored
    │   ├── UnknownServiceError    a function calls a service that was not registered
    │   └── AlreadySubmittedError  one environment, one job                                (exit 8)
    ├── ConfigError                a field of the configuration is wrong                   (exit 9)
    ├── PluginError                a plugin is missing, broken or claims a taken name      (exit 9)
    │   └── UnknownBackendError    no installed backend has that name
    ├── JobFailedError             user code (or its process) failed while a job ran       (exit 1)
    ├── BudgetSpentError           more records failed than their operator's policy allows (exit 1)
    ├── ServiceTimeoutError        a service did not answer in time                        (exit 1)
    ├── RecordTimeoutError         the coroutine of a record did not end in time           (exit 1)
    ├── StateLimitError            an operator keeps more for its keys than it may         (exit 1)
    ├── FeedbackError              a loop makes ever more of its records                   (exit 1)
    ├── TimestampError             a value that cannot be the time of a record, or a timer (exit 1)
    ├── TimerError                 a timer that cannot be set, or that never comes to rest (exit 1)
    ├── TransferError              a record cannot travel to another process               (exit 1)
    ├── DeadLetterFileError        a file of dead letters cannot be read                   (exit 9)
    ├── ConnectorError             what a connector reads or writes is not as it should be (exit 1)
    │   └── RecordError            one record in it is unusable; what follows may be fine  (exit 1)
    ├── JobManagerError            the JobManager answered with an error
    │   ├── DaemonUnreachableError nobody, or somebody else, listens there                 (exit 4)
    │   ├── NotAllowedError        token missing or wrong, host or origin refused          (exit 5)
    │   ├── NotFoundError          no such job                                             (exit 3)
    │   ├── AmbiguousRefError      a prefix fits several jobs                              (exit 3)
    │   ├── WrongStateError        the job's state does not allow that                     (exit 8)
    │   ├── ConflictError          this uuid was submitted before with other content       (exit 8)
    │   ├── VersionMismatchError   client and JobManager cannot exchange this job          (exit 9)
    │   ├── InvalidPackageError    the package is corrupt, truncated or foreign            (exit 9)
    │   └── LimitExceededError     too large, too many, or no room left                    (exit 9)
    ├── WaitTimeoutError           the time to wait is over; the job goes on               (exit 6)
    ├── SimulationError            a simulated job stands still, or never ends             (exit 1)
    └── InternalError              a bug in SAGE; please report it                         (exit 70)

Every class carries ``code`` (stable, for machines), ``exit_code`` (of the command that meets it) and an
optional ``hint`` (what to do). What an error talks about is kept as attributes, so that nobody parses text.
All of them pickle and come back equal in type, text and attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from sage.core.models import FailureInfo

__all__ = [
    "AlreadySubmittedError",
    "AmbiguousRefError",
    "BudgetSpentError",
    "CapabilityError",
    "ConfigError",
    "ConflictError",
    "ConnectorError",
    "DaemonUnreachableError",
    "DeadLetterFileError",
    "FeedbackError",
    "GraphError",
    "InternalError",
    "InvalidPackageError",
    "JobFailedError",
    "JobManagerError",
    "LimitExceededError",
    "NotAllowedError",
    "NotFoundError",
    "PackagingError",
    "PipelineError",
    "PluginError",
    "Problem",
    "RecordError",
    "RecordTimeoutError",
    "SageError",
    "ServiceTimeoutError",
    "SimulationError",
    "StateError",
    "StateLimitError",
    "TimerError",
    "TimestampError",
    "TransferError",
    "UnknownBackendError",
    "UnknownServiceError",
    "UnsupportedKeyError",
    "VersionMismatchError",
    "WaitTimeoutError",
    "WrongStateError",
]


class SageError(Exception):
    """Base of everything SAGE raises on purpose.

    Args:
        message: what happened and where.
        hint: what to do about it.
        details: further facts, kept as attributes of the error.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, hint: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.__dict__.update(details)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.__dict__.copy()))

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


def _rebuild(cls: type[SageError], state: dict[str, Any]) -> SageError:
    error = cls.__new__(cls)
    Exception.__init__(error, state["message"])
    error.__dict__.update(state)
    return error


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a graph.

    Attributes:
        message: what is wrong.
        where: the user's own source line, ``file.py:12``, or None where there is none.
        operator: the uid of the operator it concerns.
        hint: what to do.
        level: ``"error"`` refuses the graph, ``"warning"`` is only shown.
    """

    message: str
    where: str | None = None
    operator: str | None = None
    hint: str | None = None
    level: str = "error"

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        hint = f"\n      hint: {self.hint}" if self.hint else ""
        return f"{where}{self.message}{hint}"


class PipelineError(SageError):
    """The program describes something that cannot run."""

    code = "pipeline"
    exit_code = 9


class GraphError(PipelineError):
    """The graph has problems; all of them are in ``problems``."""

    code = "graph"
    problems: Sequence[Problem]

    def __init__(self, problems: Sequence[Problem], *, hint: str | None = None, **details: Any) -> None:
        count = len(problems)
        head = "the pipeline has a problem" if count == 1 else f"the pipeline has {count} problems"
        lines = [f"  {number}. {problem}" for number, problem in enumerate(problems, 1)]
        super().__init__("\n".join([f"{head}:", *lines]), hint=hint, problems=tuple(problems), **details)


class CapabilityError(GraphError):
    """The backend does not offer what the graph needs; ``missing`` names it, sorted."""

    code = "capability"
    missing: Sequence[str] = ()


class PackagingError(PipelineError):
    """Something in the graph cannot travel to a job's process; ``path`` leads to it (``Double.lock``)."""

    code = "packaging"
    path: str | None = None


class UnsupportedKeyError(PipelineError):
    """A value that cannot be a key: NaN, or a type without a canonical encoding."""

    code = "key"


class StateError(PipelineError):
    """State that cannot be declared, saved or restored; ``attribute`` names it, where it is one of a function's."""

    code = "state"
    attribute: str | None = None


class UnknownServiceError(PipelineError):
    """A function calls a service that was not registered; ``registered`` lists those that were."""

    code = "unknown_service"
    registered: Sequence[str] = ()


class AlreadySubmittedError(PipelineError):
    """``submit()`` was called twice on one environment; ``job`` is the uuid of the first."""

    code = "already_submitted"
    exit_code = 8
    job: str | None = None


class ConfigError(SageError):
    """A field of the configuration is wrong; ``path`` names it (``ssh -> workers[2] -> port``).

    ``problems`` has everything that is wrong (`sage.core.config.ConfigProblem`), the first one included.
    """

    code = "config"
    exit_code = 9
    path: str | None = None
    problems: Sequence[Any] = ()


class PluginError(SageError):
    """A plugin is missing, broken, or claims a name that is taken.

    ``plugin`` is its entry point (``sage.backends: ray``), ``distribution`` the culprit's name and version, ``problem``
    what is wrong with it, where it is broken.
    """

    code = "plugin"
    exit_code = 9
    plugin: str | None = None
    distribution: str | None = None
    problem: str | None = None


class UnknownBackendError(PluginError):
    """No installed backend has that name; ``installed`` lists those there are."""

    code = "unknown_backend"
    installed: Sequence[str] = ()


class JobFailedError(SageError):
    """A job failed; ``failure`` tells operator, record and traceback."""

    code = "job_failed"
    exit_code = 1
    job: str | None = None
    failure: FailureInfo | None = None


class BudgetSpentError(SageError):
    """More records were given up than the error policy of their operator allows. Seen as the cause of a failed job."""

    code = "budget_spent"
    exit_code = 1


class ServiceTimeoutError(SageError):
    """A service did not answer in time; the call goes on in the background, and its result is dropped.

    Or so many calls of it are still under way that no further one was made.
    """

    code = "service_timeout"
    exit_code = 1


class StateLimitError(SageError):
    """An operator keeps more for its keys, or in its attributes, in one subtask, than it may.

    Seen as the cause of a failed job. ``operator`` is its name, ``state`` what takes most, ``keys`` how many keys that
    has, ``limit`` how many bytes are allowed, by the size when saved.
    """

    code = "state_limit"
    exit_code = 1
    operator: str | None = None
    state: str | None = None
    keys: int | None = None
    limit: int | None = None


class RecordTimeoutError(SageError):
    """The coroutine of a record did not end in time, and was cancelled. Seen as the cause of a failed job.

    ``operator`` is the name of the ``map_async``, ``seconds`` the time that it allows.
    """

    code = "record_timeout"
    exit_code = 1
    operator: str | None = None
    seconds: float | None = None


class FeedbackError(SageError):
    """A loop makes ever more of its records, so that what waits to go round again has no room. Or that cannot be kept.

    The cause of a failed job. ``loop`` is the name of its future.
    """

    code = "feedback"
    exit_code = 1
    loop: str | None = None


class TimestampError(SageError):
    """A value that cannot be the time of a record or a timer. Seen as the cause of a failed job."""

    code = "timestamp"
    exit_code = 1


class TimerError(SageError):
    """A timer that cannot be set, or is set for its own instant again and again. Seen as the cause of a failed job."""

    code = "timer"
    exit_code = 1


class TransferError(SageError):
    """A record cannot be pickled for another process, or not be read there. Seen as the cause of a failed job.

    ``path`` leads to what cannot be pickled (``record['lock']``), ``index`` is the place of the record among those that
    were sent with it.
    """

    code = "transfer"
    exit_code = 1
    path: str | None = None
    index: int | None = None


class DeadLetterFileError(SageError):
    """A line of a file of dead letters is damaged, or its record could not be pickled there or cannot be read here."""

    code = "dead_letter_file"
    exit_code = 9


class ConnectorError(SageError):
    """What a connector reads or writes is not as it should be: missing, changed, taken, not to be opened.

    Seen as the cause of a failed job. ``file`` and ``line`` tell where, if it is a file.
    """

    code = "connector"
    exit_code = 1
    file: str | None = None
    line: int | None = None


class RecordError(ConnectorError):
    """One record can be neither read nor written; reading and writing may go on behind it.

    ``record`` is the record as it was found: what an error policy skips, or sends as a dead letter.
    """

    code = "record"
    record: Any = None


class JobManagerError(SageError):
    """The JobManager answered with an error."""

    code = "jobmanager"


class DaemonUnreachableError(JobManagerError):
    """No JobManager listens at that address."""

    code = "unreachable"
    exit_code = 4


class NotAllowedError(JobManagerError):
    """The token is missing or wrong, or the request's host or origin was refused."""

    code = "not_allowed"
    exit_code = 5


class NotFoundError(JobManagerError):
    """There is no such job."""

    code = "not_found"
    exit_code = 3


class AmbiguousRefError(JobManagerError):
    """A prefix fits several jobs."""

    code = "ambiguous"
    exit_code = 3


class WrongStateError(JobManagerError):
    """The job's state does not allow what was asked."""

    code = "wrong_state"
    exit_code = 8


class ConflictError(JobManagerError):
    """This uuid was submitted before with other content."""

    code = "conflict"
    exit_code = 8


class VersionMismatchError(JobManagerError):
    """Client and JobManager differ in a way that makes exchanging this job unsafe."""

    code = "version"
    exit_code = 9


class InvalidPackageError(JobManagerError):
    """A submission package is corrupt, truncated or foreign."""

    code = "invalid_package"
    exit_code = 9


class LimitExceededError(JobManagerError):
    """Something is too large, too many, or there is no room left."""

    code = "limit"
    exit_code = 9


class WaitTimeoutError(SageError):
    """The time to wait is over; the job goes on. ``job`` is its uuid."""

    code = "timeout"
    exit_code = 6
    job: str | None = None


class SimulationError(SageError):
    """A simulated job stands still, or has not ended after as many turns as it may take. The cause of a failed job."""

    code = "simulation"
    exit_code = 1


class InternalError(SageError):
    """A bug in SAGE. Please report it with the traceback."""

    code = "internal"
    exit_code = 70
