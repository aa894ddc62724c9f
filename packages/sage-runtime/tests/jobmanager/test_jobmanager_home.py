"""The daemon's folder: what jobs leave in theirs can be removed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sage.runtime.jobmanager.home import remove_tree

NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that any user may reach."""
    folder = Path(tempfile.mkdtemp(prefix="sagejm"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def as_a_common_user(work: object) -> int:
    """Run ``work`` in a child that is not root, whom no permission would hold up; its exit status."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            assert callable(work)
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_folders_that_may_not_be_changed_are_removed(folder: Path) -> None:
    """A job may leave folders that even their owner may not write or read; links out of them are not followed."""
    job, outside = folder / "job", folder / "outside"

    def work() -> None:
        outside.mkdir()
        (outside / "kept").touch()
        outside.chmod(0o500)
        for name in ("cache/module", "secret/deep/er"):
            (job / name).mkdir(parents=True)
            (job / name / "file").touch()
        (job / "link").symlink_to(outside)
        (job / "cache" / "module").chmod(0o555)
        (job / "cache").chmod(0o555)
        (job / "secret").chmod(0)
        remove_tree(job)
        assert not job.exists()
        assert outside.stat().st_mode & 0o777 == 0o500
        remove_tree(job)

    assert as_a_common_user(work) == 0
    assert (outside / "kept").exists()
