"""The entry outside the namespace: it names what hides SAGE before anything of it is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("name", ["sage.py", "sage/__init__.py"])
def test_a_stranger_is_named_and_not_run(sage: Any, tmp_path: Path, name: str) -> None:
    """A module or a package called sage on PYTHONPATH is told with its place, and left alone."""
    stranger = tmp_path / "strange" / name
    stranger.parent.mkdir(parents=True)
    stranger.write_text("raise SystemExit('the stranger was run')\n")
    result = sage("version", env={"PYTHONPATH": str(tmp_path / "strange")})
    assert (result.out, result.code) == ("", 9)
    assert result.err == (
        f"error: {stranger} hides SAGE's own 'sage' package\n"
        "  hint: rename or remove it, take it off PYTHONPATH, or install SAGE into a virtual environment of its own\n"
    )


def test_the_distribution_that_brought_the_stranger_is_named(sage: Any, tmp_path: Path) -> None:
    """SageMath for one owns a package sage, with a cli folder in it."""
    place = tmp_path / "site"
    (place / "sage" / "cli").mkdir(parents=True)
    (place / "sage" / "__init__.py").touch()
    (place / "sage" / "cli" / "__init__.py").touch()
    info = place / "sagemath_standard-10.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sagemath-standard\nVersion: 10.5\n")
    (info / "top_level.txt").write_text("sage\n")
    (info / "RECORD").write_text("sage/__init__.py,,\n")
    result = sage("version", env={"PYTHONPATH": str(place)})
    assert result.code == 9
    assert "/sage/__init__.py (installed by sagemath-standard) hides SAGE's own 'sage' package\n" in result.err


def test_a_sage_py_in_the_current_folder_is_no_matter(sage: Any) -> None:
    """The script's own folder is on the path, the current one is not."""
    (sage.folder / "sage.py").write_text("raise SystemExit('the stranger was run')\n")
    assert sage("version").code == 0


def test_nothing_of_sage_to_be_found(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Run by a Python without SAGE, the entry says so."""
    import _sage_boot

    monkeypatch.setattr(_sage_boot, "find_spec", lambda name: None)
    assert _sage_boot.main() == 9
    assert "is this the Python that sage-cli was installed into?" in capsys.readouterr().err
