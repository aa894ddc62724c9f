"""The configuration: defaults, layers, every kind of value, and everything that can be wrong with it."""

from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sage.core import config as config_module
from sage.core.config import (
    Config,
    config_path,
    fields,
    load,
    parse_path,
    plain_value_at,
    sage_home,
    sections,
    to_plain,
    validate_value,
)
from sage.core.config.kinds import Duration, Invalid, Kind, Leaf, ListOf, Record, Size
from sage.core.config.schema import SshWorker
from sage.core.errors import ConfigError


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment with a SAGE_HOME of its own and nothing else."""
    return {"SAGE_HOME": str(tmp_path)}


def write(env: dict[str, str], text: str) -> Path:
    path = config_path(env)
    path.write_text(text)
    return path


def refused(env: dict[str, str], text: str | None = None, **more: Any) -> ConfigError:
    """The error of a configuration that must not load."""
    if text is not None:
        write(env, text)
    with pytest.raises(ConfigError) as caught:
        load(env=env, **more)
    return caught.value


def leaves(record: Record[Any], value: Any) -> list[tuple[Kind[Any], Any]]:
    found: list[tuple[Kind[Any], Any]] = []
    for name in record.fields:
        kind, inner = record.kind(name), getattr(value, name)
        found += leaves(kind, inner) if isinstance(kind, Record) else [(kind, inner)]
    return found


# Defaults and layers


def test_without_a_file_everything_has_its_default(env: dict[str, str]) -> None:
    """No file is no problem; the design's defaults are in force."""
    config = load(env=env)
    assert config == Config()
    assert (config.daemon.host, config.daemon.port, config.daemon.bind) == ("127.0.0.1", 19001, "127.0.0.1")
    assert config.daemon.max_running_jobs is None
    assert config.checkpoints.interval == 10.0
    assert config.checkpoints.max_operator_state == 256 * 1024 * 1024
    assert config.head.head_port == 6379
    assert config.ssh.workers == ()


def test_every_default_is_of_its_kind() -> None:
    """What the schema gives as a default, its own kind accepts and can write back."""
    for kind, default in leaves(Record(Config), Config()):
        if isinstance(kind, Leaf):
            assert kind.check(kind.plain(default)) == default
        else:
            assert isinstance(kind, ListOf)
            assert default == ()


@pytest.mark.parametrize("text", ["", "# nothing\n", "daemon:\n", "daemon:\n  # port: 5\nssh:\n", "ssh:\n  workers:\n"])
def test_empty_sections_are_left_out(env: dict[str, str], text: str) -> None:
    """A file, section or list whose lines are all commented out means the defaults."""
    write(env, text)
    assert load(env=env) == Config()


def test_a_file_sets_what_it_names(env: dict[str, str]) -> None:
    """Values of all kinds come out as what the program works with."""
    write(
        env,
        """
daemon:
  port: 19002
  allowed_hosts: [sage.example.org]
  token_file: ~/token
  tls: {cert: /etc/c.pem, key: /etc/k.pem}
head: {num_cpus: 1.5, dashboard: true}
ssh:
  connect_timeout: 5m
  workers:
    - host: node-1
    - {host: "::1", port: 2222}
checkpoints: {interval: 500ms, max_operator_state: 1GiB}
output: {format: json}
""",
    )
    config = load(env=env)
    assert config.daemon.port == 19002
    assert config.daemon.allowed_hosts == ("sage.example.org",)
    assert config.daemon.token_file == Path("~/token").expanduser()
    assert config.daemon.tls.cert == Path("/etc/c.pem")
    assert config.head.num_cpus == 1.5
    assert config.head.dashboard is True
    assert config.ssh.connect_timeout == 300.0
    assert config.ssh.workers == (SshWorker("node-1"), SshWorker("::1", 2222))
    assert config.checkpoints.interval == 0.5
    assert config.checkpoints.max_operator_state == 1 << 30
    assert config.output.format == "json"


def test_an_override_wins_over_a_variable_over_the_file(env: dict[str, str]) -> None:
    """Flag, variable, file, default: the first one that speaks counts, field by field."""
    write(env, "daemon: {port: 1, host: file, backend: file}\nlogs: {keep: 7}\n")
    env |= {"SAGE_DAEMON__PORT": "2", "SAGE_DAEMON__HOST": "variable"}
    config = load(env=env, overrides={"daemon.port": 3})
    assert (config.daemon.port, config.daemon.host, config.daemon.backend) == (3, "variable", "file")
    assert config.logs.keep == 7


def test_variables_are_yaml(env: dict[str, str]) -> None:
    """Lists, mappings, nested fields and null can be given in variables."""
    env |= {
        "SAGE_PLUGINS__DISABLE": "[hello, sage-x]",
        "SAGE_SSH__WORKERS": "[{host: a}, {host: b, port: 23}]",
        "SAGE_DAEMON__TLS__CA": "/etc/ca.pem",
        "SAGE_DAEMON__ALLOW_PLAINTEXT": "true",
        "SAGE_CHECKPOINTS__INTERVAL": "null",
    }
    config = load(env=env)
    assert config.plugins.disable == ("hello", "sage-x")
    assert config.ssh.workers == (SshWorker("a"), SshWorker("b", 23))
    assert config.daemon.tls.ca == Path("/etc/ca.pem")
    assert config.daemon.allow_plaintext is True
    assert config.checkpoints.interval is None


def test_text_in_a_variable_is_taken_as_written(env: dict[str, str]) -> None:
    """A user named 12 and a duration of 30 need no quotes, though YAML calls them numbers."""
    env |= {"SAGE_SSH__USER": "12", "SAGE_SSH__CONNECT_TIMEOUT": "30", "SAGE_REMOTE__PYTHON_PATH": "3.11"}
    config = load(env=env)
    assert (config.ssh.user, config.ssh.connect_timeout, config.remote.python_path) == ("12", 30.0, "3.11")


@pytest.mark.parametrize("name", ["SAGE_HOME_X", "SAGE_CAPTURE", "SAGE_FAILPOINT", "SAGE__X", "XSAGE_A__B", "PATH"])
def test_other_variables_are_left_alone(env: dict[str, str], name: str) -> None:
    """Only SAGE_<SECTION>__<FIELD> is configuration."""
    assert load(env={**env, name: "1"}) == Config()


def test_the_process_environment_is_the_default(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `env`, the variables of the process count."""
    monkeypatch.setenv("SAGE_HOME", env["SAGE_HOME"])
    monkeypatch.setenv("SAGE_DAEMON__PORT", "19009")
    assert load().daemon.port == 19009


def test_a_named_file_is_read_and_must_be_there(env: dict[str, str], tmp_path: Path) -> None:
    """An explicit path is a promise that there is such a file."""
    other = tmp_path / "other.yaml"
    with pytest.raises(ConfigError, match="no such file"):
        load(other, env=env)
    other.write_text("daemon: {port: 5}")
    assert load(other, env=env).daemon.port == 5


# What is wrong


def test_all_problems_are_told_at_once(env: dict[str, str]) -> None:
    """File, variables and overrides are judged together; each problem says where it was set."""
    env |= {"SAGE_LOGS__KEEP": "many"}
    path = write(env, "daemon:\n  port: 99999\nssh:\n  workers:\n  - host: a\n  - port: 0\nhead: {head_port: x}\n")
    error = refused(env, overrides={"limits.max_jobs": -1})
    found = {problem.path: (problem.where, problem.message) for problem in error.problems}
    assert found == {
        "daemon -> port": (f"{path}:2", "needs a whole number from 0 to 65535, got 99999"),
        "ssh -> workers[1] -> port": (f"{path}:6", "needs a whole number from 1 to 65535, got 0"),
        "ssh -> workers[1] -> host": (f"{path}:6", "is missing"),
        "head -> head_port": (f"{path}:7", "needs a whole number from 1 to 65535, got 'x'"),
        "logs -> keep": ("SAGE_LOGS__KEEP", "needs a whole number of at least 0, got 'many'"),
        "limits -> max_jobs": ("override", "needs a whole number of at least 1, got -1"),
    }
    assert error.path == "daemon -> port"
    assert error.exit_code == 9
    assert "the configuration has 6 problems:" in str(error)
    for problem in error.problems:
        assert str(problem) in str(error)


def test_one_problem_reads_as_one_line(env: dict[str, str]) -> None:
    """File, line, field, what is wrong."""
    error = refused(env, "daemon:\n  port: no\n")
    path = config_path(env)
    assert str(error) == f"{path}:2: daemon -> port: needs a whole number from 0 to 65535, got False"


@pytest.mark.parametrize(
    ("text", "path", "hint"),
    [
        ("daemon: {prot: 1}", "daemon -> prot", "did you mean port?"),
        ("deamon: {port: 1}", "deamon", "did you mean daemon?"),
        ("port: 1", "port", "did you mean daemon -> port?"),
        ("ssh: {workers: [{host: a, prt: 1}]}", "ssh -> workers[0] -> prt", "did you mean port?"),
        ("monitor: {zzz: 1}", "monitor -> zzz", "monitor has refresh_interval"),
        ("1: 2", "1", "the configuration has daemon, "),
    ],
)
def test_unknown_keys_name_the_nearest(env: dict[str, str], text: str, path: str, hint: str) -> None:
    """A misspelled key is an error that says what was probably meant."""
    error = refused(env, text)
    assert (error.path, error.problems[0].message) == (path, "is no setting")
    assert error.hint is not None
    assert error.hint.startswith(hint)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SAGE_DAEMON__PROT", "did you mean SAGE_DAEMON__PORT?"),
        ("SAGE_DEAMON__PORT", "did you mean SAGE_DAEMON__PORT?"),
        ("SAGE_DAEMON__", "did you mean SAGE_DAEMON__"),
        ("SAGE_daemon__port", "did you mean SAGE_DAEMON__PORT?"),
        ("SAGE_SSH__WORKERS__HOST", "did you mean SAGE_SSH__WORKERS?"),
        ("SAGE_XXXXXXXXXX__Y", "unset it"),
    ],
)
def test_misspelled_variables_are_errors(env: dict[str, str], name: str, hint: str) -> None:
    """A variable that looks like configuration and is none is never passed over."""
    error = refused({**env, name: "1"})
    assert error.problems[0].where == name
    assert error.hint is not None
    assert error.hint.startswith(hint)


@pytest.mark.parametrize("text", ["daemon: 5", "daemon: [1]", "[1]", "word", "ssh: {workers: 5}", "ssh: {workers: []}"])
def test_layers_over_a_malformed_file_leave_its_problems(env: dict[str, str], text: str) -> None:
    """What the file has in place of a mapping is told, whatever is laid over it."""
    write(env, text)
    overrides = {"daemon.port": 5, "daemon": {}, "ssh.workers[0].host": "a", "ssh.workers[1]": {"host": "b"}}
    for path, value in overrides.items():
        try:
            load(env=env, overrides={path: value})
        except ConfigError as error:
            assert "needs a" in str(error)


def test_an_unknown_override_is_an_error(env: dict[str, str]) -> None:
    """Overrides are checked like the rest."""
    error = refused(env, overrides={"daemon.prot": 1})
    assert (error.path, error.hint) == ("daemon -> prot", "did you mean port?")


@pytest.mark.parametrize(
    ("text", "place"),
    [("daemon: {port: 1\nhead: 2\n", ":2:5"), ("a: b: c\n", ":1:5"), ("daemon:\n\tport: 1\n", ":2:1")],
)
def test_malformed_yaml_tells_line_and_column(env: dict[str, str], text: str, place: str) -> None:
    """What is no YAML is told with file, line and column."""
    error = refused(env, text)
    assert str(error).startswith(f"{config_path(env)}{place}: is no valid YAML: ")


@pytest.mark.parametrize("text", ["[1, 2]", "hello", "12"])
def test_a_file_must_be_a_mapping(env: dict[str, str], text: str) -> None:
    """A list or a word is no configuration."""
    assert "needs a mapping of daemon, " in str(refused(env, text))


def test_a_key_given_twice_is_an_error(env: dict[str, str]) -> None:
    """YAML would take the second silently."""
    error = refused(env, "daemon:\n  port: 1\n  host: a\n  port: 2\n")
    assert str(error) == f"{config_path(env)}:4: daemon -> port: is set twice, first in line 2"


def test_files_that_are_none_are_errors(env: dict[str, str]) -> None:
    """A folder, a binary file, and a file that refers to itself are told, not raised through."""
    path = config_path(env)
    path.mkdir()
    assert "cannot be read" in str(refused(env))
    path.rmdir()
    path.write_bytes(b"\xff\xfe\x00")
    assert "is no UTF-8 text" in str(refused(env))
    assert "refers to itself" in str(refused(env, "daemon: &a\n  tls: *a\n"))
    assert "larger than" in str(refused(env, "# " + "x" * (1 << 20)))
    assert "is no valid YAML" in str(refused(env, "daemon: {port: 2001-99-99}"))
    assert "is no valid YAML" in str(refused(env, "x: " + "[" * 5000))


def test_a_file_that_everybody_may_write_is_refused(env: dict[str, str]) -> None:
    """Whoever may write it decides to whom the token is sent; groups may share one."""
    path = config_path(env)
    path.write_text("daemon: {port: 4711}\n")
    path.chmod(0o664)
    assert load(env=env).daemon.port == 4711
    path.chmod(0o666)
    error = refused(env)
    assert "may be written by everybody (mode 0666)" in str(error)
    assert f"chmod o-w {path}" in str(error)


def test_a_malformed_variable_is_told_beside_the_rest(env: dict[str, str]) -> None:
    """YAML in a variable may be broken, too."""
    error = refused({**env, "SAGE_PLUGINS__DISABLE": "[a", "SAGE_LOGS__KEEP": "-1"})
    assert {problem.where for problem in error.problems} == {"SAGE_PLUGINS__DISABLE", "SAGE_LOGS__KEEP"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("daemon.port", True),
        ("daemon.port", "19001"),
        ("daemon.port", 1.5),
        ("daemon.port", None),
        ("daemon.port", [1]),
        ("head.head_port", 0),
        ("daemon.allow_plaintext", "yes"),
        ("daemon.allow_plaintext", 1),
        ("daemon.host", ""),
        ("daemon.host", "-oProxyCommand=x"),
        ("daemon.host", "a b"),
        ("ssh.user", "-l"),
        ("ssh.user", 12),
        ("daemon.token_file", "token"),
        ("daemon.token_file", "~nobody-of-that-name/x"),
        ("ssh.connect_timeout", "10"[:0]),
        ("ssh.connect_timeout", "10 parsecs"),
        ("ssh.connect_timeout", 0),
        ("ssh.connect_timeout", -1),
        ("ssh.connect_timeout", float("nan")),
        ("ssh.connect_timeout", float("inf")),
        ("ssh.connect_timeout", True),
        ("checkpoints.max_operator_state", "1 stone"),
        ("checkpoints.max_operator_state", 0),
        ("checkpoints.max_operator_state", 1.5),
        ("head.num_cpus", "two"),
        ("head.num_cpus", -1),
        ("head.num_cpus", float("nan")),
        ("output.format", "xml"),
        ("jobs.restart", None),
        ("plugins.disable", "hello"),
        ("plugins.disable", [1]),
        ("plugins.disable", {"a": 1}),
        ("ssh.workers", [None]),
        ("ssh.workers", ["node"]),
        ("daemon.tls", "cert.pem"),
        ("daemon", [1]),
        ("remote.sage_home", "a\nb"),
    ],
)
def test_values_of_another_kind_are_refused(env: dict[str, str], path: str, value: object) -> None:
    """Nothing is bent into shape: a wrong kind of value is an error at its path."""
    error = refused(env, overrides={path: value})
    assert error.path is not None
    assert error.path.startswith(" -> ".join(path.split(".")))
    assert "needs " in str(error) or "is missing" in str(error)


def test_a_long_value_is_cut_in_the_message(env: dict[str, str]) -> None:
    """An error stays readable whatever the file holds."""
    assert len(str(refused(env, overrides={"daemon.port": "x" * 100_000}))) < 300


def test_a_wide_bind_needs_tls_or_leave(env: dict[str, str]) -> None:
    """Beyond loopback the daemon wants TLS, or to be told that plain text is meant."""
    error = refused(env, "daemon:\n  bind: 0.0.0.0\n")
    assert error.path == "daemon -> bind"
    assert error.problems[0].where == f"{config_path(env)}:2"
    assert error.hint is not None
    assert "allow_plaintext" in error.hint
    assert load(env=env, overrides={"daemon.allow_plaintext": True}).daemon.bind == "0.0.0.0"
    tls = {"cert": "/c", "key": "/k"}
    assert load(env=env, overrides={"daemon.tls": tls}).daemon.bind == "0.0.0.0"


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.0.0.53", "localhost", "::1"])
def test_loopback_needs_neither(env: dict[str, str], bind: str) -> None:
    """Loopback by any of its names is fine."""
    assert load(env=env, overrides={"daemon.bind": bind}).daemon.bind == bind


@pytest.mark.parametrize(("have", "lack"), [("cert", "key"), ("key", "cert")])
def test_certificate_and_key_go_together(env: dict[str, str], have: str, lack: str) -> None:
    """One without the other is an error."""
    assert refused(env, overrides={f"daemon.tls.{have}": "/x"}).path == f"daemon -> tls -> {lack}"


def test_config_errors_pickle(env: dict[str, str]) -> None:
    """The error crosses processes with its path and problems."""
    error = refused(env, "daemon: {prot: 1, port: -1}")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.path, copy.problems) == (str(error), error.path, error.problems)


# Places


def test_sage_home_is_moved_by_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SAGE_HOME, else ~/.sage; relative ones are refused."""
    assert sage_home({"SAGE_HOME": str(tmp_path)}) == tmp_path
    assert sage_home({}) == Path("~/.sage").expanduser()
    assert sage_home({"SAGE_HOME": ""}) == Path("~/.sage").expanduser()
    assert sage_home({"SAGE_HOME": "~/x"}) == Path("~/x").expanduser()
    with pytest.raises(ConfigError, match="relative path"):
        sage_home({"SAGE_HOME": "here"})
    with pytest.raises(ConfigError, match="no home folder"):
        sage_home({"SAGE_HOME": "~nobody-of-that-name/x"})
    monkeypatch.setenv("SAGE_HOME", str(tmp_path))
    assert config_path() == tmp_path / "config.yaml"


# Values by path


def test_paths_are_parsed() -> None:
    """Dots between names, brackets around numbers."""
    assert parse_path("daemon.port") == ("daemon", "port")
    assert parse_path("ssh.workers[2].port") == ("ssh", "workers", 2, "port")
    for wrong in ("", ".", "a..b", "a.", "[1]", "a[x]", "a[1]b"):
        with pytest.raises(ConfigError, match="is no path of a setting"):
            parse_path(wrong)


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("daemon.port", "19002", 19002),
        ("checkpoints.interval", "30s", "30s"),
        ("checkpoints.interval", "30", "30"),
        ("checkpoints.interval", "null", None),
        ("ssh.user", "12", "12"),
        ("ssh.workers", "[{host: a}]", [{"host": "a"}]),
        ("ssh.workers[0].port", "23", 23),
        ("plugins.disable", "[a, b]", ["a", "b"]),
        ("daemon.tls", "{ca: /x}", {"ca": "/x"}),
        ("head.dashboard", "true", True),
    ],
)
def test_typed_values_are_checked_and_come_back_as_the_file_holds_them(path: str, text: str, value: object) -> None:
    """`config set` writes what it gets back here."""
    assert validate_value(path, text) == value


@pytest.mark.parametrize(
    ("path", "text", "match"),
    [
        ("daemon.prot", "1", "is no setting"),
        ("daemon.port.x", "1", "is no setting: daemon -> port is a whole number"),
        ("daemon[0]", "1", "is no setting"),
        ("daemon.port", "abc", "needs a whole number"),
        ("daemon.port", "[", "is no valid YAML"),
        ("daemon.port", "", "got nothing"),
        ("ssh.workers", "[{port: 1}]", "workers\\[0\\] -> host: is missing"),
    ],
)
def test_typed_values_that_are_wrong_are_refused(path: str, text: str, match: str) -> None:
    """No such setting, or no such value."""
    with pytest.raises(ConfigError, match=match):
        validate_value(path, text)


def test_values_are_found_by_path(env: dict[str, str]) -> None:
    """A setting, a section and an item, as plain data."""
    write(env, "ssh: {workers: [{host: a}], connect_timeout: 90s}")
    config = load(env=env)
    assert plain_value_at(config, "ssh.connect_timeout") == "90s"
    assert plain_value_at(config, "ssh.workers[0].host") == "a"
    assert plain_value_at(config, "ssh.workers") == [{"host": "a", "port": 22}]
    with pytest.raises(ConfigError, match="workers has 1 items"):
        plain_value_at(config, "ssh.workers[1]")
    with pytest.raises(ConfigError, match="did you mean workers"):
        plain_value_at(config, "ssh.worker")


def test_plain_data_loads_again(env: dict[str, str]) -> None:
    """What `to_plain` gives is itself a configuration, the same one."""
    write(env, "ssh: {workers: [{host: a}], connect_timeout: 90s}\ncheckpoints: {max_operator_state: 1500}\n")
    config = load(env=env)
    assert load(env={"SAGE_HOME": "/nowhere"}, overrides=to_plain(config)) == config


@given(st.floats(0.001, 1e9, allow_nan=False) | st.integers(1, 10**7))
def test_durations_are_written_so_that_they_read_back(seconds: float) -> None:
    """Plain text of a duration means that duration, to the microsecond it is written with."""
    kind = Duration()
    assert kind.check(kind.plain(kind.check(seconds))) == pytest.approx(float(seconds), abs=1e-6)


@given(st.integers(1, 1 << 60))
def test_sizes_are_written_so_that_they_read_back(size: int) -> None:
    """Plain text of a size means exactly that size."""
    kind = Size()
    assert kind.check(kind.plain(size)) == size


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    """No text makes the check fail in another way than by refusing it."""
    for kind in (Duration(), Size()):
        try:
            assert kind.check(text) > 0
        except Invalid as error:
            assert "needs" in str(error)


# The settings as data


def test_all_settings_are_described() -> None:
    """Each has a help sentence, a type, and a variable that indeed sets it."""
    settings = fields()
    paths = [each.path for each in settings]
    assert len(set(paths)) == len(paths)
    assert {"daemon.port", "daemon.tls.ca", "ssh.workers", "ssh.workers[].port", "limits.max_package"} <= set(paths)
    for each in settings:
        assert each.help.endswith("."), each.path
        assert each.type
        if each.variable is not None:
            assert parse_path(each.variable.removeprefix("SAGE_").lower().replace("__", ".")) == parse_path(each.path)
    top = {name for name in sections() if "." not in name}
    assert top == {field.name for field in dataclasses.fields(Config)}


def test_public_names_are_there() -> None:
    """`__all__` is sorted and complete."""
    assert sorted(config_module.__all__) == config_module.__all__
    for name in config_module.__all__:
        assert hasattr(config_module, name)


@given(st.from_regex(r"\A[0-9]{1,20}\Z"))
def test_numbers_are_what_yaml_says(text: str) -> None:
    """Plain numbers take a short way; it gives what YAML gives, octal ones included."""
    import yaml

    from sage.core.config.documents import parse_value

    assert parse_value(text, "here") == yaml.safe_load(text)


def test_yaml_is_imported_only_for_something_to_parse(tmp_path: Path) -> None:
    """Without a file, and for a variable that holds a number, loading costs no PyYAML."""
    code = "import sys; from sage.core.config import load; load(); sys.exit('yaml' in sys.modules)"
    env = {name: value for name, value in os.environ.items() if not name.startswith("SAGE_")}
    env["SAGE_DAEMON__PORT"] = "19002"
    subprocess.run([sys.executable, "-c", code], check=True, env=env | {"SAGE_HOME": str(tmp_path)}, timeout=60)


def test_the_reference_page_is_up_to_date() -> None:
    """docs/reference/configuration.md is what the schema says."""
    from sage.core.config.reference import reference_page

    page = Path(__file__).parents[3] / "docs" / "reference" / "configuration.md"
    if not page.parent.is_dir():
        pytest.skip("not in a checkout: there is no docs folder")
    expected = "python -m sage.core.config > docs/reference/configuration.md"
    assert page.read_text() == reference_page(), f"make it anew: {expected}"
