#!/usr/bin/env python3
"""Set up what developing SAGE needs, once, and run a nox session: ``python3 dev.py tests``.

Needs Python >= 3.11 with venv and pip, nothing else. It makes ``.venv`` beside this file with nox and uv inside
(the system's Python is left alone, so one that is externally managed is no obstacle) and hands over to nox, which
keeps one environment per session in ``.nox``. A second run installs nothing.

Kept to the syntax of Python 3.7, so that an old interpreter gets the message below instead of a SyntaxError.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".inputs.sha256"
TOOLS = ["nox>=2025.5,<2027", "uv>=0.8,<1"]
SESSIONS = {
    "demo": "start a JobManager, run two pipelines on it, show what it knows of them, stop it",
    "tests": "all tests",
    "lint": "ruff, strict typing, import directions",
    "docs": "run the documentation's code, check its links",
    "simulate": "random pipelines under random schedules: a long sweep of seeds, or --seed N",
    "bench": "the benchmarks",
    "bench_peers": "the same works on SAGE and on its peers, which it installs",
    "build": "wheels and source distributions into dist/",
}
USAGE = "usage: python3 dev.py SESSION [SESSION ...] [-- ARGUMENTS]\n\nsessions:\n" + "\n".join(
    f"  {name:11} {what}" for name, what in SESSIONS.items()
)


class SetupError(Exception):
    """What went wrong, and what to do about it."""


def main(arguments: list[str]) -> None:
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return
    split = arguments.index("--") if "--" in arguments else len(arguments)
    sessions, rest = arguments[:split], arguments[split:]
    unknown = [name for name in sessions if name not in SESSIONS]
    if unknown or not sessions:
        raise SetupError(f"there is no session {', '.join(unknown)}" if unknown else "which session?", USAGE)
    check_interpreter()
    if stamp() != digest():
        set_up()
    os.chdir(ROOT)
    sys.stdout.flush()
    nox = [str(VENV_PYTHON), "-m", "nox", "--noxfile", str(ROOT / "noxfile.py"), "--sessions", *sessions, *rest]
    os.execve(VENV_PYTHON, nox, environment())


def check_interpreter() -> None:
    if sys.version_info < (3, 11):
        message = f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}"
        for minor in range(20, 10, -1):
            newer = shutil.which(f"python3.{minor}")
            if newer:
                raise SetupError(message, f"Try: {newer} dev.py {' '.join(sys.argv[1:])}")
        raise SetupError(message, "On Debian and Ubuntu: apt-get install python3 python3-venv.")
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        hint = f"On Debian and Ubuntu: apt-get install {package}. Elsewhere: the package that holds Python's venv."
        raise SetupError(f"this Python ({sys.executable}) comes without venv or pip", hint)


def set_up() -> None:
    """Make ``.venv`` anew. The stamp is written last, so that what was interrupted is begun again."""
    print("dev.py: making .venv with nox and uv (once)", flush=True)
    steps = [
        [sys.executable, "-m", "venv", "--clear", str(VENV)],
        [str(VENV_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *TOOLS],
    ]
    for step in steps:
        code = subprocess.call(step, env=environment(), stdin=subprocess.DEVNULL)
        if code:
            hint = "Its own message is above. Once the cause is gone, run the same command again: it starts afresh."
            raise SetupError(f"setting up stopped at: {' '.join(step)} (exit code {code})", hint)
    STAMP.write_text(digest())


def digest() -> str:
    """Of everything that decides what is in ``.venv``, its own place included: environments cannot be moved."""
    facts = [str(ROOT), sys.version, os.path.realpath(sys.executable), *TOOLS]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def stamp() -> str:
    return STAMP.read_text() if STAMP.exists() and VENV_PYTHON.exists() else ""


def environment() -> dict[str, str]:
    """This one, less what would lead pip or Python out of the virtual environment.

    pip trusts the system's certificates, which a network with an inspecting proxy needs; uv has to be told to. Where
    the system has none, uv's own remain.
    """
    unwanted = {"PYTHONHOME", "PYTHONPATH", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "VIRTUAL_ENV"}
    result = {name: value for name, value in os.environ.items() if name not in unwanted}
    certificates = ssl.get_default_verify_paths()
    if certificates.cafile or (certificates.capath and any(Path(certificates.capath).iterdir())):
        result.setdefault("UV_SYSTEM_CERTS", "1")
    return result


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SetupError as error:
        problem, remedy = error.args
        sys.exit(f"dev.py: {problem}.\n{remedy}")
