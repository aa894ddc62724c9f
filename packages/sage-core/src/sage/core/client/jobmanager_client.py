"""`JobManagerClient`: one public method for each resource of the JobManager."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote, urlencode

from sage.core.client._address import check_address, other_port, refused_hint, running_port, tls_context
from sage.core.client._answers import ServerEvent, events_of, problem_of, read_answer
from sage.core.errors import (
    DaemonUnreachableError,
    InvalidPackageError,
    JobManagerError,
    LimitExceededError,
    NotAllowedError,
    NotFoundError,
    SageError,
    VersionMismatchError,
    WaitTimeoutError,
)
from sage.core.models import (
    API_VERSION,
    ENDED_STATES,
    DaemonInfo,
    FailureInfo,
    JobInfo,
    JobMetrics,
    LogChunk,
    Page,
    StateChange,
)

if TYPE_CHECKING:
    import ssl

    from sage.core.client._http import Answer, Body, Request
    from sage.core.config import Config

__all__ = ["JobManagerClient"]

T = TypeVar("T")

_ROOT = f"/api/v{API_VERSION}"
_REF = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}", re.ASCII)
_HOLD = 30.0  # seconds that one long poll is held open
_STREAM_IDLE = 60.0  # a stream says something at least every 15 s
_STEADY = 5.0  # seconds after which a stream counts as one that works, whatever it tells
_SUBMIT = 60.0  # seconds for the JobManager to check and store a package that was sent
_DELETE = 120.0  # seconds for a forced delete, which cancels and waits first
_LOG_BYTES = 1 << 18
_PACKAGE_HINT = "the file was damaged, or is something else: submit the program itself, which makes a new package"


class JobManagerClient:
    """Speaks to one JobManager. Any number of threads may share a client; each call is one request unless it says more.

    Every method raises `DaemonUnreachableError` if no JobManager answers (its ``reason`` tells why: ``refused``,
    ``timeout``, ``closed``, ``network``, ``unresolved``, ``certificate``, ``not_http``, ``not_sage``), and the class
    of `sage.core.errors` that the JobManager's answer names, else. A job is named by its number, its uuid, or at least
    the first four characters of the uuid.

    Args:
        host, port: where the JobManager listens.
        token: the bearer token; it is sent to that address only, redirects are not followed.
        timeout: seconds to connect, and to wait for an answer.
        tls: speak TLS with this context; None means plain HTTP.
        patience: seconds that `wait`, `events` and `follow_logs` bear with a JobManager that is gone, if it has
            answered this client before: jobs go on while it restarts.
    """

    def __init__(
        self,
        host: str,
        port: int,
        token: str | None = None,
        *,
        timeout: float = 10.0,
        tls: ssl.SSLContext | None = None,
        patience: float = 15.0,
    ) -> None:
        from sage.core.client._http import Transport

        check_address(host, port, token)
        if timeout <= 0:
            raise ValueError(f"timeout must be more than 0 s, got {timeout!r}")
        self.host = host
        self.port = port
        self._patience = patience
        self._checked = False
        self._answered = False
        # The JobManager's own hint speaks of headers; who uses this client thinks of files.
        self._token_hint = (
            "no token was given or found: it is in the file token of the JobManager's SAGE_HOME (daemon.token_file)"
            if token is None
            else "the token is that of another JobManager: check SAGE_HOME and daemon.token_file, and host and port"
        )
        self._http = Transport(
            host, port, token=token, timeout=timeout, tls=tls, refused_hint=lambda: refused_hint(host, port)
        )

    @classmethod
    def from_config(
        cls, config: Config | None = None, *, host: str | None = None, port: int | None = None, token: str | None = None
    ) -> Self:
        """A client of the configured JobManager; what is given here comes before the configuration.

        Without a token, that of ``daemon.token_file`` or of SAGE_HOME is taken. A configured port of 0 means the one
        that the JobManager of this SAGE_HOME has taken.

        Raises:
            ConfigError: the configuration is wrong.
            NotAllowedError: the token file is open to others.
        """
        from sage.core.config import load, read_token

        config = load() if config is None else config
        host = config.daemon.host if host is None else host
        port = config.daemon.port if port is None else port
        if port == 0:
            port = running_port()
        if token is None:
            token = read_token(config)
        return cls(host, port, token, tls=tls_context(config))

    # Jobs

    def submit(self, package: Path) -> JobInfo:
        """Send a submission package; the answer comes once the job is stored for good. Sending the same again is safe.

        Raises:
            ConflictError: its uuid was submitted before with other content.
            VersionMismatchError, InvalidPackageError, LimitExceededError: the JobManager refuses it.
            OSError: the file cannot be read.
        """
        from sage.core.client._http import Body
        from sage.core.client.package import MEDIA_TYPE

        with package.open("rb") as file:
            size = file.seek(0, 2)
            if not size:
                raise InvalidPackageError(f"{package.name}: the package is empty", hint=_PACKAGE_HINT)
            self._check_version()
            body = Body(file, size, MEDIA_TYPE)
            try:
                return self._call("POST", "jobs", JobInfo.from_json, body=body, repeatable=True, within=_SUBMIT)
            except InvalidPackageError as error:
                # The JobManager knows no file; who sent it may have more than one.
                told = InvalidPackageError(f"{package.name}: {error.message}", hint=error.hint or _PACKAGE_HINT)
                raise told from error

    def jobs(
        self,
        state: str | None = None,
        name: str | None = None,
        owner: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Page:
        """One page of jobs, newest first; `cursor` is the ``next_cursor`` of the page before."""
        query = {"state": state, "name": name, "owner": owner, "cursor": cursor, "limit": limit}
        return self._call("GET", "jobs", Page.from_json, query=query)

    def job(self, ref: str | int, wait: float | None = None) -> JobInfo:
        """One job. With `wait`, the answer comes when it has ended, or after so many seconds (60 at most)."""
        if wait is None:
            return self._call("GET", _job(ref), JobInfo.from_json)
        return self._held(ref, max(0.0, min(wait, 60.0)), "ended")

    def graph(self, ref: str | int) -> dict[str, Any]:
        """The public graph of a job, as `sage.core.graph.model.LogicalGraph.to_json` made it."""
        return self._call("GET", _job(ref, "graph"), _mapping)

    def metrics(self, ref: str | int) -> JobMetrics:
        """What the job's tasks have counted so far."""
        return self._call("GET", _job(ref, "metrics"), JobMetrics.from_json)

    def history(self, ref: str | int) -> list[StateChange]:
        """All changes of state, oldest first."""
        return self._call("GET", _job(ref, "history"), _items(StateChange.from_json))

    def failures(self, ref: str | int) -> list[FailureInfo]:
        """All failures, oldest first."""
        return self._call("GET", _job(ref, "failures"), _items(FailureInfo.from_json))

    def logs(self, ref: str | int, stream: str = "job", offset: int = 0, limit: int = _LOG_BYTES) -> LogChunk:
        """At most about `limit` bytes of what the job has printed, from byte `offset` on."""
        query = {"stream": stream, "offset": offset, "limit": limit}
        return self._call("GET", _job(ref, "logs"), LogChunk.from_json, query=query)

    def stop(self, ref: str | int) -> JobInfo:
        """Ask a job to stop; the answer shows it on its way.

        Raises:
            WrongStateError: it has ended.
        """
        return self._call("POST", _job(ref, "stop"), JobInfo.from_json)

    def cancel(self, ref: str | int) -> JobInfo:
        """Ask a job to end without saving anything; the answer shows it on its way.

        Raises:
            WrongStateError: it has ended.
        """
        return self._call("POST", _job(ref, "cancel"), JobInfo.from_json)

    def continue_(self, ref: str | int) -> JobInfo:
        """Let a stopped or failed job go on from what it saved.

        Raises:
            WrongStateError: it is in another state, or nothing was saved.
        """
        return self._call("POST", _job(ref, "continue"), JobInfo.from_json)

    def delete(self, ref: str | int, force: bool = False) -> None:
        """Remove an ended job with its logs; with `force`, cancel one that has not ended first.

        Raises:
            WrongStateError: it has not ended.
        """
        query = {"force": "true"} if force else {}
        within = _DELETE if force else None
        self._call("DELETE", _job(ref), lambda _: None, query=query, within=within)

    def cleanup(
        self,
        states: Collection[str] | None = None,
        older_than: float | None = None,
        jobs: Collection[str | int] | None = None,
    ) -> list[JobInfo]:
        """Remove ended jobs with their logs, and return those that were removed.

        Args:
            states: of jobs to remove; without these, completed, failed and cancelled ones.
            older_than: only jobs that ended so many seconds ago.
            jobs: only these.
        """
        wanted: dict[str, Any] = {}
        if states is not None:
            wanted["states"] = sorted(states)
        if older_than is not None:
            wanted["older_than"] = older_than
        if jobs is not None:
            wanted["jobs"] = [_ref(ref) for ref in jobs]
        return self._call("POST", "cleanup", _items(JobInfo.from_json), send=wanted, within=_DELETE)

    # The JobManager itself

    def info(self) -> DaemonInfo:
        """What the JobManager says of itself."""
        return self._call("GET", "info", DaemonInfo.from_json)

    # Following

    def wait(self, ref: str | int, timeout: float | None = None, until: Collection[str] = ENDED_STATES) -> JobInfo:
        """Wait until a job is in one of the states `until`, or has ended all the same: look at its ``state``.

        It waits by long polls, and bears with a JobManager that restarts meanwhile.

        Raises:
            WaitTimeoutError: neither came within `timeout` seconds; the job goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        states = ",".join(sorted({"ended", *(set(until) - ENDED_STATES)}))
        retry = _Retry(self, deadline)
        job = self._first_look(ref, retry)
        while not (job.state in until or job.is_ended):
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise _timed_out(job, timeout)
            hold = _HOLD if left is None else min(_HOLD, left)
            begun = time.monotonic()
            try:
                job = self._held(job.uuid, hold, states)
            except (DaemonUnreachableError, LimitExceededError) as error:
                retry.after(error)
                continue
            if time.monotonic() - begun >= hold / 2:
                retry.succeeded()
            else:
                retry.pause()  # it did not hold the answer back (it may be stopping): do not ask again at once
        return job

    def events(self, ref: str | int) -> Iterator[StateChange]:
        """The changes of a job's state, from the first one on, as they come, until it has ended.

        A lost connection is made anew, without a change lost or told twice.
        """
        after = 0
        headers: dict[str, str] = {}
        for event in self._events(_job(ref, "events"), {}, headers):
            if event.name == "state":
                change = self._data(event, StateChange.from_json)
                if change.seq > after:
                    after = change.seq
                    headers["Last-Event-ID"] = str(after)
                    yield change

    def follow_logs(self, ref: str | int, offset: int = 0) -> Iterator[str]:
        """What a job prints, from byte `offset` on, as it comes, until it has ended and all was read.

        A lost connection is made anew, without text lost or told twice.
        """
        query = {"offset": offset}
        for event in self._events(_job(ref, "logs/follow"), query, {}):
            if event.name == "log":
                piece = self._data(event, _mapping)
                query["offset"] = self._data(event, lambda data: int(data["offset"]))
                yield str(piece.get("text", ""))

    # Life

    def close(self) -> None:
        """Close all connections; calls of other threads end with an error. May be called twice."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<JobManagerClient of {self._http.address}>"

    # How

    def _call(
        self,
        method: str,
        path: str,
        make: Callable[[Any], T],
        *,
        query: Mapping[str, Any] | None = None,
        send: Mapping[str, Any] | None = None,
        body: Body | None = None,
        repeatable: bool = False,
        within: float | None = None,
    ) -> T:
        from sage.core.client._http import Body, Request

        if send is not None:
            raw = json.dumps(send).encode()
            body = Body(io.BytesIO(raw), len(raw), "application/json")
        target = _target(path, query or {})
        request = Request(method, target, body=body, repeatable=repeatable or method == "GET", within=within)
        return self._read(self._http.exchange(request), request, make)

    def _read(self, answer: Answer, request: Request, make: Callable[[Any], T]) -> T:
        try:
            made = read_answer(answer, make, lambda described: self._stranger(request, described))
        except NotAllowedError as error:
            if answer.status == 401:
                error.hint = other_port(self.host, self.port) or self._token_hint
            raise
        self._answered = True
        return made

    def _stranger(self, request: Request, described: str) -> DaemonUnreachableError:
        what = f"{request.method} {request.target.partition('?')[0]}: {described}"
        return self._http.unreachable(
            f"{self._http.address} answers, but not as a SAGE JobManager does ({what})",
            other_port(self.host, self.port)
            or "another service listens on that port: give the JobManager one of its own "
            "(sage jobmanager start --port N, daemon.port)",
            "not_sage",
        )

    def _no_stream(self, answer: Answer, request: Request) -> SageError:
        """The error for an answer that should have been a stream of events."""
        return problem_of(answer) or self._stranger(request, f"{answer.status} {answer.media_type}, no events")

    def _check_version(self) -> None:
        """Before a package is sent: is this a JobManager, and one that speaks as we do? Asked once."""
        if self._checked:
            return
        info = self.info()
        if info.api != API_VERSION:
            older = info.api < API_VERSION
            raise VersionMismatchError(
                f"the JobManager at {self._http.address} (SAGE {info.sage}) speaks version {info.api} of the API, "
                f"this client version {API_VERSION}",
                hint="upgrade SAGE there, and restart the JobManager" if older else "upgrade SAGE here",
            )
        self._checked = True

    def _first_look(self, ref: str | int, retry: _Retry) -> JobInfo:
        """The job as it is; a JobManager that this client knows is borne with from the first request on."""
        while True:
            try:
                return self.job(ref)
            except (DaemonUnreachableError, LimitExceededError) as error:
                if not self._answered or retry.is_late:
                    raise
                retry.after(error)

    def _held(self, ref: str | int, hold: float, states: str) -> JobInfo:
        """One long poll: the job once it is in one of `states` or has ended, or after `hold` seconds."""
        query = {"wait": f"{hold:g}", "state": states}
        return self._call("GET", _job(ref), JobInfo.from_json, query=query, within=hold + self._http.timeout)

    def _events(self, path: str, query: dict[str, Any], headers: dict[str, str]) -> Iterator[ServerEvent]:
        """Events of a stream until its ``end``; a lost connection is made anew, with what the arguments then are."""
        from sage.core.client._http import Answer, Request

        retry = _Retry(self, None) if self._answered else None
        while True:
            asked = {"Accept": "text/event-stream", "Cache-Control": "no-store", **headers}
            request = Request("GET", _target(path, query), asked, repeatable=True)
            begun: float | None = None
            try:
                with self._http.stream(request, idle=_STREAM_IDLE) as stream:
                    if isinstance(stream, Answer):
                        raise self._no_stream(stream, request)
                    retry = retry or _Retry(self, None)
                    begun = time.monotonic()
                    for event in events_of(stream):
                        if event.name == "end":
                            return
                        before = {**query, **headers}
                        yield event
                        # What is only told again is no success: who never gets further does not try for ever.
                        if {**query, **headers} != before:
                            retry.succeeded()
                raise self._http.unreachable(f"{self._http.address} broke off {request.target}", None, "closed")
            except (DaemonUnreachableError, LimitExceededError) as error:
                if retry is None:
                    raise
                if begun is not None and time.monotonic() - begun >= _STEADY:
                    retry.succeeded()
                retry.after(error)

    def _data(self, event: ServerEvent, make: Callable[[Any], T]) -> T:
        try:
            return make(json.loads(event.data))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise JobManagerError(
                f"the JobManager at {self._http.address} sent an event {event.name!r} of another form"
            ) from error


class _Retry:
    """Whether and when to ask again, once a JobManager has answered and then gone away."""

    def __init__(self, client: JobManagerClient, deadline: float | None) -> None:
        self._patience = client._patience
        self._closed = client._http.closed
        self._deadline = deadline
        self._since: float | None = None
        self._delay = 0.1

    @property
    def is_late(self) -> bool:
        """Whether the caller's time is over."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def succeeded(self) -> None:
        self._since = None
        self._delay = 0.1

    def after(self, error: JobManagerError) -> None:
        """Pause after `error`, or raise it: it will not pass by itself, or has lasted too long."""
        passing = getattr(error, "reason", None) in ("refused", "closed", "timeout", "network")
        busy = getattr(error, "status", None) == 503
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if not (passing or busy) or now - self._since >= self._patience:
            raise error
        self.pause()

    def pause(self) -> None:
        delay = self._delay
        if self._deadline is not None:
            delay = max(0.0, min(delay, self._deadline - time.monotonic()))
        self._closed.wait(delay)
        self._delay = min(1.0, self._delay * 2)


def _ref(ref: str | int) -> str:
    text = str(ref)
    if not _REF.fullmatch(text):
        raise NotFoundError(
            f"{text!r} cannot name a job", hint="give its number, its uuid or at least the first 4 characters of that"
        )
    return text


def _job(ref: str | int, resource: str = "") -> str:
    return f"jobs/{_ref(ref)}/{resource}".rstrip("/")


def _target(path: str, query: Mapping[str, Any]) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    # What a terminal gave may be no text at all, and then fits no job: that is for the JobManager to say.
    return f"{_ROOT}/{quote(path)}" + (f"?{urlencode(given, errors='surrogatepass')}" if given else "")


def _timed_out(job: JobInfo, timeout: float | None) -> WaitTimeoutError:
    return WaitTimeoutError(
        f"job {job.number} ({job.name}) is {job.state} after {timeout or 0:g} s of waiting; it goes on",
        hint=f"sage job wait {job.number}, sage job logs -f {job.number} or sage job stop {job.number}",
        job=job.uuid,
    )


def _items(make: Callable[[Any], T]) -> Callable[[Any], list[T]]:
    def all_of(data: Any) -> list[T]:
        items: Iterable[Any] = data["items"]
        return [make(item) for item in items]

    return all_of


def _mapping(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise TypeError("it is no object")
    return data
