"""One job from its start to its last event."""

# pathlib would cost the shim a third of its start.
# ruff: noqa: PTH103

from __future__ import annotations

import json
import os
import signal
import socket

from sage.runtime.shim.child import start_process
from sage.runtime.shim.control import Control
from sage.runtime.shim.environment import JOB_FOLDER, SHIM_FD, allowed
from sage.runtime.shim.escalation import Escalation
from sage.runtime.shim.failure import clean_failure, describe_end, last_words
from sage.runtime.shim.files import write_json
from sage.runtime.shim.log import RotatingLog
from sage.runtime.shim.loop import Loop
from sage.runtime.shim.metrics import MetricsFile
from sage.runtime.shim.outbox import Outbox
from sage.runtime.shim.processes import boot_id, read_stat, send_signal
from sage.runtime.shim.server import Server
from sage.runtime.shim.sweep import find_processes
from sage.runtime.shim.sweeper import Sweeper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sage.runtime.shim.events import EventsFile
    from sage.runtime.shim.job_file import JobFile
    from sage.runtime.shim.processes import ProcessIdentity

__all__ = ["ENDED_STATES", "Supervisor"]

ENDED_STATES = ("stopped", "completed", "failed", "cancelled")
"""The states in which nothing of a job runs any more (`sage.core.models`, which a shim cannot import)."""

_CHUNK = 1 << 16
_LONGEST_GRACE = 86400.0
# Of the grace, what the job may give to user code; the rest is for telling how that ended before SIGTERM comes.
_SHARE = 0.8
_DEAF_GRACE = 2.0
_SWEEP_GRACE = 2.0
_CLIENT_PATIENCE = 3.0
_DRAIN_READS = 256
_LARGEST = 1 << 31


class Supervisor:
    """Starts the job process, forwards what it tells, ends it when asked to, and writes how it ended.

    Args:
        job: what is to be run.
        events: the job's events file, locked by this process.
        note: told what is odd, for people who look after the shim.
        umask: of the job process.
    """

    def __init__(self, job: JobFile, events: EventsFile, *, note: Callable[[str], None], umask: int) -> None:
        self._job = job
        self._note = note
        self._umask = umask
        self._loop = Loop()
        self._state = ""
        self._pid = 0
        self._control: Control | None = None
        self._output = -1
        self._sweeper: Sweeper | None = None
        self._cancelling: str | None = None
        self._outcome: str | None = None
        self._failure: dict[str, Any] | None = None
        self._remarks: list[str] = []
        self._outbox = Outbox(self._loop, events, wrote=self._events_written, note=note)
        self._metrics = MetricsFile(self._loop, job.path("metrics.json"), note=note)
        self._escalation = Escalation(self._loop, terminate=self._terminate, kill=self._kill)
        self._log = RotatingLog(job.path("logs", "job.log"), max_bytes=job.log_max_bytes, keep=job.log_keep)
        self._server = Server(self._loop, job.socket, events, self._answer)

    # Start

    def start(self) -> None:
        """Begin: the state ``starting``, the job process, ``shim.json``.

        A job process that cannot be started makes the job fail; that is an event, no exception.
        """
        self._watch_signals()
        os.makedirs(self._job.path("work"), 0o700, exist_ok=True)
        output, output_end = os.pipe()
        ours, theirs = socket.socketpair()
        self._record("starting")
        command = [self._job.python, "-P", "-m", "sage.runtime.jobprocess", self._job.folder]
        environment = {
            **allowed(os.environ),
            **self._job.env_vars,
            JOB_FOLDER: self._job.folder,
            SHIM_FD: str(theirs.fileno()),
        }
        try:
            self._pid = start_process(
                command,
                environment=environment,
                folder=self._job.path("work"),
                output=output_end,
                control=theirs.fileno(),
                umask=self._umask,
            )
        except OSError as error:
            os.close(output)
            ours.close()
            self._fail({"kind": "process", "message": f"the job's process could not be started: {error}"})
            self._loop.after(0, self._finish)
            return
        finally:
            theirs.close()
            os.close(output_end)
        self._output = output
        os.set_blocking(output, False)
        self._loop.watch(output, read=self._read_output)
        self._control = Control(self._loop, ours, message=self._message, closed=self._control_closed, note=self._note)
        ended = os.pidfd_open(self._pid)
        self._loop.watch(ended, read=lambda: self._process_ended(ended))
        self._write_shim_file()

    def run(self) -> None:
        """Do what there is to do until the job's last event is durable and told."""
        self._loop.run()

    def _write_shim_file(self) -> None:
        me, child = read_stat(os.getpid()), read_stat(self._pid)
        facts = {
            "pid": os.getpid(),
            "start_time": me.start_time if me else None,
            "boot_id": boot_id(),
            "socket": self._job.socket,
            "job_pid": self._pid,
            "job_start_time": child.start_time if child else None,
            "attempt": self._job.attempt,
            "epoch": self._job.epoch,
        }
        try:
            write_json(self._job.path("shim.json"), facts)
        except OSError as error:
            # Without it a later daemon finds this shim by its socket only.
            self._note(f"shim.json could not be written: {error}")

    def _watch_signals(self) -> None:
        wake, wake_end = os.pipe()
        for end in (wake, wake_end):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            # The handler does nothing: the wake-up descriptor carries the number into the loop.
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

        def woken() -> None:
            for number in os.read(wake, 64):
                self._told_to_end(number)

        self._loop.watch(wake, read=woken)

    # What comes in

    def _told_to_end(self, number: int) -> None:
        if self._state in ENDED_STATES:
            self._note(f"{signal.Signals(number).name}: leaving with {self._outbox.pending} events unwritten")
            self._loop.stop()
            return
        again = self._escalation.grace is not None
        reason = f"the job's shim was told to end ({signal.Signals(number).name})"
        self._cancel(0.0 if again else self._job.grace, reason)

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request.get("op") == "ping":
            return {
                "ok": True,
                "pid": os.getpid(),
                "attempt": self._job.attempt,
                "epoch": self._job.epoch,
                "state": self._state,
                "pending": self._outbox.pending,
            }
        if request.get("op") == "cancel":
            grace = request.get("grace", self._job.grace)
            reason = request.get("reason")
            if isinstance(grace, bool) or not isinstance(grace, (int, float)) or not 0 <= grace <= _LONGEST_GRACE:
                raise ValueError(f"grace is a number of seconds from 0 to {_LONGEST_GRACE:g}")
            if reason is not None and not isinstance(reason, str):
                raise ValueError("reason is a text")
            self._cancel(float(grace), (reason or "cancel was asked for")[:1000])
            return {"ok": True}
        raise ValueError(f"unknown op {str(request.get('op'))[:100]!r}; there are ping, cancel and subscribe")

    def _cancel(self, grace: float, reason: str) -> None:
        if self._state in ENDED_STATES:
            return
        # A job that has told its outcome keeps it; there only the end of its process can be hastened.
        if self._outcome is None and self._failure is None and self._cancelling is None:
            self._cancelling = reason
            self._record("cancelling", reason=reason)
            if self._control is not None:
                self._control.send({"command": "cancel", "grace": grace * _SHARE})
        if self._sweeper is not None:
            if grace == 0:
                self._sweeper.hurry()
        elif self._pid:
            self._escalation.begin(grace)

    def _message(self, message: dict[str, Any]) -> None:
        event = message.get("event")
        if event == "running" and self._state == "starting":
            self._record("running", **_counts(message))
        elif event == "metrics" and isinstance(message.get("metrics"), dict):
            self._take_metrics(message["metrics"])
        elif event == "failing" and self._outcome is None and self._failure is None:
            self._fail(clean_failure(message.get("failure")))
            # It still closes what it opened, and gives user code the time that a cancel would.
            self._escalation.begin(2 * self._job.grace)
        elif event == "ended" and self._outcome is None:
            self._job_ended(message)
        elif event not in ("running", "failing", "ended"):
            self._note(f"the job process sent an unknown message: {str(message)[:200]}")

    def _take_metrics(self, metrics: dict[str, Any]) -> None:
        try:
            json.dumps(metrics, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            self._note(f"the job process sent metrics that are no text: {error}")
            return
        self._metrics.put(metrics)

    def _job_ended(self, message: dict[str, Any]) -> None:
        state = message.get("state")
        if state not in ("completed", "failed", "cancelled"):
            self._note(f"the job process ended in an unknown state: {str(state)[:200]}")
            return
        if state == "failed" and self._failure is None:
            self._fail(clean_failure(message.get("failure")))
        self._outcome = state
        # What is left to the process is to leave; a thread that hangs must not keep the job.
        self._escalation.begin(self._job.grace)

    def _control_closed(self) -> None:
        if self._outcome is None and self._sweeper is None:
            # Most likely it has just ended, which the loop is about to see.
            self._escalation.begin(_DEAF_GRACE)

    def _read_output(self) -> bool:
        try:
            data = os.read(self._output, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._loop.unwatch(self._output)
            return False
        self._log.write(data)
        return True

    def _drain_output(self) -> None:
        # Bounded, since a process that is still to be swept may write for ever.
        for _ in range(_DRAIN_READS):
            if not self._read_output():
                break

    # The end

    def _terminate(self) -> None:
        self._note("the job process did not end in time: terminating its session")
        for identity in self._processes():
            self._signal(identity, signal.SIGTERM)

    def _kill(self) -> None:
        self._note("the job process did not end in time: killing its session")
        # Not reaped yet, hence its id is still its own, and that of its group.
        try:
            os.killpg(self._pid, signal.SIGKILL)
        except PermissionError:
            self._note("nobody in the job process's group is ours to signal any more")
        for identity in self._processes():
            self._signal(identity, signal.SIGKILL)

    def _signal(self, identity: ProcessIdentity, number: int) -> None:
        try:
            send_signal(identity, number)
        except PermissionError:
            self._note(f"process {identity.pid} of the job has changed its user: not ours to signal")

    def _processes(self) -> list[ProcessIdentity]:
        return find_processes(self._job.folder, self._pid)

    def _process_ended(self, pidfd: int) -> None:
        self._loop.unwatch(pidfd)
        os.close(pidfd)
        self._escalation.stop()
        # Not reaped before all that is left of its session is swept: until then its id, which names that session,
        # cannot be given to anybody else.
        info = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
        self._sweeper = Sweeper(self._loop, self._processes, self._swept)
        if self._control is not None:
            self._control.drain()
        self._drain_output()
        if info is not None:
            self._judge(info.si_status, killed=info.si_code != os.CLD_EXITED)
        self._sweeper.begin(0.0 if self._escalation.done == "killed" else _SWEEP_GRACE)

    def _judge(self, status: int, *, killed: bool) -> None:
        """Draw from how the process ended what it has not told itself."""
        words, exit_status, name = describe_end(status, killed=killed)
        forced = self._escalation.done
        if forced is not None:
            self._remarks.append(f"its process did not end within {self._escalation.grace:g} s and was {forced}")
        if self._cancelling is not None or self._failure is not None:
            return
        if self._outcome is None:
            message = f"the job's process {words} before it told an outcome"
            if forced is not None:
                message = f"the job's process closed the line to its shim, did not end, and was {forced}"
            self._fail(
                {
                    "kind": "process",
                    "message": message,
                    "traceback": last_words(self._log.tail()),
                    "exit_status": exit_status,
                    "signal": name,
                }
            )
        elif forced is None and (killed or status):
            self._remarks.append(f"its process {words} after the job had ended")

    def _swept(self, ended: int, left: list[ProcessIdentity]) -> None:
        if ended:
            self._remarks.append(f"{ended} process{'es' if ended > 1 else ''} that it had left behind had to be ended")
        if left:
            pids = ", ".join(str(identity.pid) for identity in left)
            self._remarks.append(f"could not be ended: process {pids}")
        self._drain_output()
        self._loop.unwatch(self._output)
        os.close(self._output)
        self._log.close()
        os.waitpid(self._pid, 0)
        self._metrics.flush()
        self._finish()

    def _finish(self) -> None:
        """Write the last event."""
        if self._cancelling is not None:
            reasons = [self._cancelling]
            if self._failure is not None:
                reasons.append(f"it failed meanwhile: {str(self._failure.get('message'))[:1000]}")
            elif self._outcome == "completed":
                reasons.append("it had done all its work")
            self._record("cancelled", reason="; ".join(reasons + self._remarks))
        elif self._failure is not None:
            message = str(self._failure.get("message"))
            self._record("failed", reason="; ".join([message, *self._remarks]), failure=self._failure)
        elif self._outcome == "cancelled":
            self._record("cancelling", reason="it cancelled itself")
            self._record("cancelled", reason="; ".join(["it cancelled itself", *self._remarks]))
        else:
            if self._state == "starting":
                self._record("running")
            self._record("completed", reason="; ".join(self._remarks) or None)

    def _fail(self, failure: dict[str, Any]) -> None:
        self._failure = failure
        if self._cancelling is None:
            self._record("failing", reason=str(failure.get("message")), failure=failure)

    def _record(self, state: str, *, reason: str | None = None, **more: Any) -> None:
        self._state = state
        self._outbox.put(
            {"state": state, "reason": reason, "attempt": self._job.attempt, "epoch": self._job.epoch, **more}
        )

    def _events_written(self) -> None:
        if self._state in ENDED_STATES and not self._outbox.pending:
            self._server.finish(_CLIENT_PATIENCE, self._loop.stop)
        else:
            self._server.events_grew()

    # When the shim itself breaks

    def abandon(self, message: str) -> bool:
        """The shim has a bug: leave nothing running, and write the job's end; returns whether that is durable."""
        if self._state and self._state not in ENDED_STATES:
            for identity in self._processes() if self._pid else ():
                self._signal(identity, signal.SIGKILL)
            self._failure = {"kind": "internal", "message": f"the job's shim failed: {message}"}
            self._cancelling = None
            self._record("failing", reason=self._failure["message"], failure=self._failure)
            self._record("failed", reason=self._failure["message"], failure=self._failure)
        self._server.close()
        return self._state in ENDED_STATES and not self._outbox.pending


def _counts(message: dict[str, Any]) -> dict[str, Any]:
    """How much runs, where the job process has told it in whole numbers."""
    told = {name: message.get(name) for name in ("tasks", "services")}
    return {name: count for name, count in told.items() if type(count) is int and 0 <= count < _LARGEST}
