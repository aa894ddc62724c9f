"""`sage config …`: what is written, what is kept, what is refused."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from sage.cli.config_file import changed, template
from sage.core.config import fields, load, to_plain


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_init_writes_a_private_file_in_which_nothing_is_set(sage: Any) -> None:
    """0600 in 0700; every setting explained; in force is what was in force before."""
    before = sage("config", "show").out
    result = sage("config", "init")
    path = sage.home / "config.yaml"
    assert (result.out, result.err, result.code) == (f"{path}\n", "", 0)
    assert (mode(path), mode(sage.home)) == (0o600, 0o700)
    assert sage("config", "show").out == before
    assert sage("config", "validate").out == f"{path}: valid\n"
    text = path.read_text()
    for setting in fields():
        assert f"{setting.path.rpartition('.')[2]}:" in text
    assert max(map(len, text.splitlines())) <= 110


def test_every_commented_setting_can_be_taken_as_it_stands(sage: Any, tmp_path: Path) -> None:
    """Uncommenting all of the template changes nothing: defaults are written as a file says them."""
    lines = []
    names = {
        f"{'  ' * (len(s.path.split('.')) - 1)}# {s.path.rpartition('.')[2]}: " for s in fields() if "[]" not in s.path
    }
    for line in template().splitlines():
        is_setting = any(line.startswith(name) for name in names)
        lines.append(line.replace("# ", "", 1) if is_setting else line)
    path = tmp_path / "config.yaml"
    path.write_text("\n".join(lines))
    assert len(yaml.safe_load(path.read_text())["daemon"]) > 5
    assert to_plain(load(path, env={"HOME": "/home/ada"})) == to_plain(
        load(None, env={"SAGE_HOME": str(tmp_path / "no")})
    )


def test_init_refuses_to_overwrite(sage: Any) -> None:
    """A file that is there stays, unless --force says otherwise."""
    sage("config", "init")
    path = sage.home / "config.yaml"
    path.write_text("daemon: {port: 5}\n")
    result = sage("config", "init")
    assert (result.out, result.code) == ("", 9)
    assert result.err.startswith(f"error: {path} is there already\n  hint: --force replaces it")
    assert path.read_text() == "daemon: {port: 5}\n"
    assert sage("config", "init", "--force").code == 0
    assert path.read_text() == template()


def test_init_makes_an_open_home_private(sage: Any) -> None:
    """A SAGE_HOME that others could read is closed to them, as the JobManager does."""
    sage.home.mkdir(mode=0o755)
    sage("config", "init")
    assert mode(sage.home) == 0o700


def test_path(sage: Any) -> None:
    """The path is printed whether the file is there or not."""
    result = sage("config", "path")
    assert result.out == f"{sage.home}/config.yaml\n"
    assert result.err == "there is no such file yet: sage config init writes one\n"
    sage("config", "init")
    assert sage("config", "path").err == ""


def test_get_and_show_tell_what_is_in_force(sage: Any) -> None:
    """Variables go before the file, the file before defaults."""
    sage("config", "set", "daemon.port", "19005")
    assert sage("config", "get", "daemon.port").out == "19005\n"
    assert sage("config", "get", "daemon.port", env={"SAGE_DAEMON__PORT": "7"}).out == "7\n"
    assert sage("config", "get", "checkpoints.interval").out == "10s\n"
    assert sage("config", "get", "daemon.tls").out == "cert: null\nkey: null\nca: null\n"
    assert sage("config", "get", "--json", "output").json == {
        "sage": 1,
        "kind": "ConfigValue",
        "data": {"setting": "output", "value": {"format": "table", "colors": "auto"}},
    }
    assert sage("config", "show", "daemon.tls").out == (
        "SETTING          VALUE\ndaemon.tls.cert  null\ndaemon.tls.key   null\ndaemon.tls.ca    null\n"
    )
    shown = sage("config", "show", "--json").json
    assert (shown["kind"], shown["data"]["daemon"]["port"]) == ("Config", 19005)
    wrong = sage("config", "get", "daemon.prt")
    assert (wrong.code, wrong.err) == (9, "error: daemon -> prt: is no setting\n  hint: did you mean port?\n")


def test_set_takes_the_place_of_the_comment(sage: Any) -> None:
    """In a file made by init, a setting appears where it is explained, and can be changed again."""
    sage("config", "init")
    path = sage.home / "config.yaml"
    assert sage("config", "set", "daemon.port", "19005").out == "daemon.port: 19005\n"
    assert sage("config", "set", "daemon.tls.ca", "~/ca.pem").code == 0
    expected = (
        template().replace("  # port: 19001\n", "  port: 19005\n").replace("    # ca: null\n", "    ca: ~/ca.pem\n")
    )
    assert path.read_text() == expected
    sage("config", "set", "daemon.port", "19006")
    assert path.read_text() == expected.replace("19005", "19006")
    assert mode(path) == 0o600


def test_set_keeps_comments_of_ones_own(sage: Any) -> None:
    """Comments, order and quotes of a hand-written file stay."""
    text = "# mine\noutput:\n  colors: 'never'  # at night\n# the rest\ndaemon:\n  port: 1  # taken\n"
    assert changed(text, "daemon.port", 2) == text.replace("port: 1 ", "port: 2 ")
    assert changed(text, "daemon.backend", "inline") == text + "  backend: inline\n"
    assert changed("# only this\n", "daemon.port", 2) == "# only this\n\ndaemon:\n  port: 2\n"
    assert changed("", "ssh.workers", [{"host": "a"}]) == "ssh:\n  workers: [{host: a}]\n"


def test_set_makes_the_file(sage: Any) -> None:
    """Without a file, one with that setting is made, private."""
    result = sage("config", "set", "--json", "ssh.workers", "[{host: a}, {host: b, port: 2222}]")
    assert result.json["data"]["value"] == [{"host": "a", "port": 22}, {"host": "b", "port": 2222}]
    path = sage.home / "config.yaml"
    assert path.read_text() == "ssh:\n  workers: [{host: a}, {host: b, port: 2222}]\n"
    assert (mode(path), mode(sage.home)) == (0o600, 0o700)
    sage("config", "set", "ssh.workers[1].port", "22")
    assert sage("config", "get", "ssh.workers[1].port").out == "22\n"
    missing = sage("config", "set", "ssh.workers[2].port", "22")
    assert (missing.code, missing.err) == (
        9,
        "error: ssh -> workers[2] -> port: is not there: ssh -> workers has 2 items\n",
    )


@pytest.mark.parametrize(
    ("setting", "value", "error"),
    [
        ("daemon.port", "70000", "error: daemon -> port: needs a whole number from 0 to 65535, got 70000\n"),
        ("daemon.port", "-1", "error: daemon -> port: needs a whole number from 0 to 65535, got -1\n"),
        ("daemon.porf", "1", "error: daemon -> porf: is no setting\n  hint: did you mean port?\n"),
        ("output.format", "xml", "error: output -> format: needs one of table, json, yaml, got 'xml'\n"),
    ],
)
def test_set_refuses_what_is_wrong(sage: Any, setting: str, value: str, error: str) -> None:
    """A wrong value or name is told before anything is written."""
    result = sage("config", "set", setting, value)
    assert (result.out, result.err, result.code) == ("", error, 9)
    assert not sage.home.exists()


def test_set_checks_the_whole_file_before_it_writes(sage: Any) -> None:
    """A value that is right by itself but wrong beside others changes nothing; the error names the real file."""
    sage("config", "set", "daemon.port", "5")
    path = sage.home / "config.yaml"
    before = path.read_text()
    result = sage("config", "set", "daemon.bind", "0.0.0.0")
    assert result.code == 9
    assert result.err.startswith(f"error: {path}:3: daemon -> bind: 0.0.0.0 is reachable from other hosts")
    assert path.read_text() == before


def test_set_refuses_a_file_that_is_wrong_already(sage: Any) -> None:
    """What cannot be understood is not rewritten."""
    sage.home.mkdir(mode=0o700)
    path = sage.home / "config.yaml"
    path.write_text("daemon: {port: [\n")
    result = sage("config", "set", "daemon.port", "5")
    assert result.code == 9
    assert result.err.startswith(f"error: {path}:2:1: is no valid YAML")
    assert path.read_text() == "daemon: {port: [\n"


def test_set_writes_through_a_link(sage: Any, tmp_path: Path) -> None:
    """People keep their configuration elsewhere and link to it: the link stays."""
    sage.home.mkdir(mode=0o700)
    real = tmp_path / "dotfiles.yaml"
    real.write_text("daemon: {port: 1}\n")
    (sage.home / "config.yaml").symlink_to(real)
    assert sage("config", "set", "daemon.port", "2").code == 0
    assert (sage.home / "config.yaml").is_symlink()
    assert real.read_text() == "daemon: {port: 2}\n"


def test_validate_tells_everything_at_once(sage: Any, tmp_path: Path) -> None:
    """All problems, each with file and line; variables are looked at too, unless a file is named."""
    assert sage("config", "validate").err == "there is no such file: the defaults are in force\n"
    path = tmp_path / "other.yaml"
    path.write_text("daemon:\n  port: x\noutput:\n  colrs: never\n")
    result = sage("config", "validate", path)
    assert (result.out, result.code) == ("", 9)
    assert result.err == (
        "error: the configuration has 2 problems:\n"
        f"  1. {path}:2: daemon -> port: needs a whole number from 0 to 65535, got 'x'\n"
        f"  2. {path}:4: output -> colrs: is no setting\n"
        "     hint: did you mean colors?\n"
    )
    assert sage("config", "validate", env={"SAGE_DAEMON__PORT": "x"}).code == 9
    path.write_text("daemon:\n  port: 1\n")
    assert sage("config", "validate", path, env={"SAGE_DAEMON__PORT": "x"}).code == 0
    assert sage("config", "validate", tmp_path / "none.yaml").code == 9
