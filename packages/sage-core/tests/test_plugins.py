"""Plugins: found by name from metadata, imported when asked for, verified, and named when they are broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import Install

from sage.core import plugins
from sage.core.backends.api import BackendOptions
from sage.core.errors import ConfigError, PluginError, UnknownBackendError
from sage.core.plugins import loading
from sage.core.plugins.context import set_command_context
from sage.core.plugins.disabling import Disabled
from sage.core.plugins.entry_points import help_of
from sage.core.plugins.manager import PluginManager
from sage.core.plugins.metadata import Claim, distribution_of, scan
from sage.core.plugins.stdout import diverted

BACKEND = """
    from sage.core.plugins import hookimpl

    class Made:
        capabilities = frozenset()
        def check(self, plan): return []
        def deploy(self, plan, attempt, events): raise AssertionError

    @hookimpl
    def sage_backend(name, options):
        made = Made()
        made.name, made.options = name, options
        return made
"""
COMMAND = """
    from sage.core.plugins import hookimpl

    @hookimpl
    def sage_command(name):
        return {"command": name}
"""


def broken(name: str) -> PluginError:
    with pytest.raises(PluginError) as caught:
        PluginManager().backend(name)
    return caught.value


def forget(*modules: str) -> None:
    for module in modules:
        sys.modules.pop(module, None)


# Backends


def test_the_built_in_backends_are_plugins_like_any_other(home: Path) -> None:
    """`inline` and `local` come in through the same entry points."""
    assert {"inline", "local"} <= set(plugins.installed_backends())
    made = plugins.backend("local")
    assert "threads" in made.capabilities


def test_a_backend_is_made_by_its_name_and_options(install: Install) -> None:
    """The hook gets what the caller gave, or the default options."""
    install("sage-t-made", "t_made", BACKEND, names=("t-made", "t-made-2"))
    made: Any = plugins.backend("t-made")
    assert (made.name, made.options) == ("t-made", BackendOptions())
    options = BackendOptions({"workers": 2})
    other: Any = plugins.backend("t-made-2", options)
    assert (other.name, other.options) == ("t-made-2", options)
    assert {"t-made", "t-made-2"} <= set(plugins.installed_backends())


def test_an_implementation_may_leave_out_arguments(install: Install) -> None:
    """A hook takes what it needs."""
    install("sage-t-few", "t_few", BACKEND.replace("(name, options)", "(name)").replace("name, options\n", "name, 0\n"))
    made: Any = plugins.backend("t_few")
    assert made.name == "t_few"


def test_an_entry_point_may_name_an_object(install: Install) -> None:
    """`module:object` works, too: an instance whose methods are the hooks."""
    code = BACKEND.replace("    @hookimpl\n    def sage_backend(name, options)", "    def _make(name, options)")
    code += """
    class Plugin:
        @hookimpl
        def sage_backend(self, name, options):
            return _make(name, options)

    plugin = Plugin()
    """
    install("sage-t-object", "t_object", code, value="t_object:plugin")
    assert plugins.backend("t_object").capabilities == frozenset()


def test_only_the_plugin_that_is_asked_for_is_imported(install: Install) -> None:
    """One broken plugin costs the others nothing."""
    install("sage-t-bad", "t_bad", "raise RuntimeError('never import me')")
    install("sage-t-good", "t_good", BACKEND)
    assert {"t_bad", "t_good"} <= set(plugins.installed_backends())
    made: Any = plugins.backend("t_good")
    assert made.name == "t_good"
    assert "t_bad" not in sys.modules


def test_the_names_of_built_in_backends_cannot_be_taken(install: Install) -> None:
    """A stranger's `local` is not even imported."""
    install("sage-t-steals", "t_steals", "raise RuntimeError('never import me')", names=("local",))
    assert type(plugins.backend("local")).__module__ == "sage.core.backends.local"
    clashes = [each.clash for each in plugins.installed_plugins() if each.distribution == "sage-t-steals"]
    assert clashes == [("sage-core",)]


def test_an_unknown_backend_lists_those_installed(home: Path) -> None:
    """The error names what there is and what was probably meant."""
    with pytest.raises(UnknownBackendError, match=r"installed: .*inline.*local") as caught:
        plugins.backend("locla")
    assert caught.value.hint == "did you mean 'local'?"
    assert {"inline", "local"} <= set(caught.value.installed)
    with pytest.raises(UnknownBackendError) as caught:
        plugins.backend("zzz")
    assert caught.value.hint == "install the distribution that brings 'zzz'"


def test_two_distributions_with_one_name_are_an_error_naming_both(install: Install) -> None:
    """Neither wins by the order of installation."""
    install("sage-t-one", "t_claim_one", BACKEND, names=("t-claimed",), version="1.0")
    install("sage-t-two", "t_claim_two", BACKEND, names=("t-claimed",), version="2.0")
    error = broken("t-claimed")
    assert "sage-t-one 1.0" in str(error)
    assert "sage-t-two 2.0" in str(error)
    assert error.plugin == "sage.backends: t-claimed"
    assert "t-claimed" in plugins.installed_backends()
    clashes = {each.distribution: each.clash for each in plugins.installed_plugins() if each.name == "t-claimed"}
    assert clashes == {"sage-t-one": ("sage-t-two",), "sage-t-two": ("sage-t-one",)}
    made: Any = PluginManager(Disabled(frozenset({"sage-t-two"}))).backend("t-claimed")
    assert type(made).__module__ == "t_claim_one"


def test_two_distributions_that_claim_the_same_module_clash_as_well(install: Install) -> None:
    """Equal entry points of two distributions are still two claims."""
    install("sage-t-same-one", "t_same", BACKEND)
    install("sage-t-same-two", "t_same", BACKEND)
    assert "2 distributions claim" in str(broken("t_same"))


def test_a_plugin_that_fails_at_import_is_named(install: Install) -> None:
    """Distribution, version, entry point and what happened; the cause is chained."""
    install("sage-t-import", "t_import", "import no_such_module_at_all", version="3.4")
    error = broken("t_import")
    assert "'t_import' of sage-t-import 3.4 is broken" in str(error)
    assert "t_import = t_import [sage.backends]" in str(error)
    assert "ModuleNotFoundError: No module named 'no_such_module_at_all'" in str(error)
    assert isinstance(error.__cause__, ModuleNotFoundError)
    assert (error.distribution, error.plugin, error.exit_code) == ("sage-t-import 3.4", "sage.backends: t_import", 9)


def test_a_plugin_that_exits_at_import_is_named(install: Install) -> None:
    """`sys.exit` in a plugin does not end the program."""
    install("sage-t-exit", "t_exit", "raise SystemExit(3)")
    error = broken("t_exit")
    assert "SystemExit: 3" in str(error)
    assert isinstance(error.__cause__, SystemExit)


@pytest.mark.parametrize("raised", ["BaseException('odd')", "GeneratorExit()", "asyncio.CancelledError()"])
def test_whatever_a_plugin_raises_at_import_is_its_own(install: Install, raised: str) -> None:
    """Not only exceptions; Ctrl-C alone is not the plugin's."""
    install("sage-t-odd", "t_odd", f"import asyncio\nraise {raised}")
    assert "importing it raised " in str(broken("t_odd"))
    install("sage-t-ctrl-c", "t_ctrl_c", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        plugins.backend("t_ctrl_c")


@pytest.mark.parametrize("value", ["", "a b", "t_odd:", "t_odd:x y", ":x", "../t_odd", "t_odd::x"])
def test_a_malformed_entry_point_is_named(install: Install, value: str) -> None:
    """What leads nowhere by its form is told with what was expected."""
    site = install("sage-t-form", "t_form", "")
    (site / "sage_t_form-1.2.dist-info" / "entry_points.txt").write_text(f"[sage.backends]\nt_form = {value}\n")
    assert "is neither package.module nor package.module:object" in str(broken("t_form"))


def test_metadata_that_is_damaged_breaks_nothing(install: Install) -> None:
    """Neither missing files nor bytes that are no text, nor folders in their place."""
    site = install("sage-t-sound", "t_sound", BACKEND)
    (site / "empty-1.0.dist-info").mkdir()
    (site / "folder-1.0.dist-info" / "entry_points.txt").mkdir(parents=True)
    (site / "file-1.0.dist-info").write_text("")
    bytes_ = site / "bytes-1.0.dist-info"
    bytes_.mkdir()
    (bytes_ / "entry_points.txt").write_bytes(
        b"\xff[sage.\n[sage.backends]\n=\nt_\xff = x\nt_alone\nt_bytes = t_none\n"
    )
    assert {"t_sound", "t_bytes", "local"} <= set(plugins.installed_backends())
    assert plugins.backend("t_sound").capabilities == frozenset()
    assert "'t_bytes' of bytes 1.0 is broken" in str(broken("t_bytes"))
    assert all(each.name for each in plugins.installed_plugins())


def test_an_object_that_resists_is_named(install: Install) -> None:
    """Looking at a plugin's attributes may raise whatever it likes."""
    code = """
    class Plugin:
        def __getattr__(self, name): raise ValueError(name)
    plugin = Plugin()
    """
    install("sage-t-resists", "t_resists", code, value="t_resists:plugin")
    assert "its sage_api raised ValueError: sage_api" in str(broken("t_resists"))


def test_an_entry_point_to_nothing_is_named(install: Install) -> None:
    """Neither a missing module nor a missing object is raised through."""
    install("sage-t-gone", "t_gone", "", value="t_gone_for_good")
    assert "ModuleNotFoundError" in str(broken("t_gone"))
    install("sage-t-attr", "t_attr", "", value="t_attr:thing")
    assert "AttributeError" in str(broken("t_attr"))


def test_a_plugin_without_the_hook_is_named(install: Install) -> None:
    """A forgotten @hookimpl is told as such."""
    install("sage-t-nohook", "t_nohook", "def sage_backend(name, options): ...")
    assert "it has no sage_backend marked with @hookimpl" in str(broken("t_nohook"))


def test_returning_none_is_an_error(install: Install) -> None:
    """A hook must make something."""
    install("sage-t-none", "t_none", "from sage.core.plugins import hookimpl\n@hookimpl\ndef sage_backend(): ...\n")
    assert "sage_backend returned None" in str(broken("t_none"))


def test_returning_no_backend_is_an_error(install: Install) -> None:
    """What is missing is named."""
    code = "from sage.core.plugins import hookimpl\n@hookimpl\ndef sage_backend(): return 'local'\n"
    install("sage-t-str", "t_str", code)
    assert "returned a str, which is no Backend: it lacks capabilities, check, deploy" in str(broken("t_str"))


def test_a_hook_that_raises_is_named(install: Install) -> None:
    """The plugin's exception is chained."""
    code = "from sage.core.plugins import hookimpl\n@hookimpl\ndef sage_backend(): return 1 / 0\n"
    install("sage-t-raise", "t_raise", code)
    error = broken("t_raise")
    assert "sage_backend raised ZeroDivisionError: division by zero" in str(error)
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_what_a_backend_says_on_purpose_passes(install: Install) -> None:
    """An error of SAGE, of wrong options for one, is not the plugin being broken."""
    code = """
    from sage.core.errors import CapabilityError, Problem
    from sage.core.plugins import hookimpl

    @hookimpl
    def sage_backend(name, options):
        raise CapabilityError([Problem("no workers", hint="give some")])
    """
    install("sage-t-says", "t_says", code)
    with pytest.raises(Exception, match="no workers") as caught:
        plugins.backend("t_says")
    assert type(caught.value).__name__ == "CapabilityError"


def test_a_wrong_signature_is_refused_at_load(install: Install) -> None:
    """Hook and argument are named."""
    code = "from sage.core.plugins import hookimpl\n@hookimpl\ndef sage_backend(name, optoins): ...\n"
    install("sage-t-sig", "t_sig", code)
    error = broken("t_sig")
    assert "optoins" in str(error)
    assert "sage_backend" in str(error)


def test_an_unknown_hook_is_refused_and_leaves_nothing_behind(install: Install) -> None:
    """A misspelled hook is an error of its plugin only; others load after it."""
    install("sage-t-hook", "t_hook", BACKEND.replace("def sage_backend", "def sage_bakcend"))
    install("sage-t-after", "t_after", BACKEND)
    manager = PluginManager()
    for _ in range(2):
        with pytest.raises(PluginError, match="sage_bakcend"):
            manager.backend("t_hook")
    assert manager.backend("t_after").capabilities == frozenset()


@pytest.mark.parametrize(
    ("version", "match"),
    [
        ("2", "written for version 2 .* this SAGE offers 1"),
        ("0", "written for version 0 .* this SAGE needs 1"),
        ("'1'", "its sage_api is '1'"),
        ("True", "its sage_api is True"),
    ],
)
def test_a_plugin_for_other_hooks_is_refused_by_name(install: Install, version: str, match: str) -> None:
    """Too new, too old, or nonsense."""
    install("sage-t-api", "t_api", f"sage_api = {version}\n" + textwrap.dedent(BACKEND))
    forget("t_api")
    with pytest.raises(PluginError, match=match):
        PluginManager().backend("t_api")


def test_a_plugin_for_these_hooks_is_taken(install: Install) -> None:
    """`sage_api = 1` is this version."""
    install("sage-t-api1", "t_api1", "sage_api = 1\n" + textwrap.dedent(BACKEND))
    assert plugins.backend("t_api1").capabilities == frozenset()


def test_one_backend_can_wrap_another(install: Install) -> None:
    """`sage.core.plugins.backend` may be called from within a hook."""
    code = """
    from sage.core import plugins

    @plugins.hookimpl
    def sage_backend(name, options):
        return plugins.backend("local", options)
    """
    install("sage-t-wrap", "t_wrap", code)
    assert "threads" in plugins.backend("t_wrap").capabilities


def test_a_plugin_installed_later_is_found(install: Install) -> None:
    """Entry points are scanned anew when `sys.path` has changed."""
    manager = PluginManager()
    assert "t_later" not in manager.names("sage.backends")
    install("sage-t-later", "t_later", BACKEND)
    assert "t_later" in manager.names("sage.backends")
    assert manager.backend("t_later") is not manager.backend("t_later")


def test_what_a_plugin_prints_goes_to_stderr(install: Install, capsys: pytest.CaptureFixture[str]) -> None:
    """When it is imported and when it is asked; a handler that has kept stdout writes there later on."""
    code = """
    import sys
    print("imported")
    kept = sys.stdout
    """ + BACKEND.replace("made = Made()", "made = Made(); print('asked')")
    install("sage-t-loud", "t_loud", code)
    plugins.backend("t_loud")
    assert capsys.readouterr() == ("", "imported\nasked\n")
    sys.modules["t_loud"].kept.write("later\n")
    assert capsys.readouterr() == ("later\n", "")


def test_what_others_print_meanwhile_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """A job that runs while a plugin is loaded keeps its output."""
    with diverted():
        other = threading.Thread(target=print, args=("a record",))
        other.start()
        other.join()
        print("a plugin")
    assert capsys.readouterr() == ("a record\n", "a plugin\n")


def test_stdout_is_itself_again_however_threads_come_and_go(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is left of diversions that overlap, not even where somebody puts back what stood there meanwhile."""
    before, entered, go_on = sys.stdout, threading.Event(), threading.Event()

    def other() -> None:
        with diverted():
            entered.set()
            assert go_on.wait(60)

    with diverted():
        kept = sys.stdout
        thread = threading.Thread(target=other)
        thread.start()
        assert entered.wait(60)
        print("first")
    print("second")
    go_on.set()
    thread.join()
    assert sys.stdout is before
    sys.stdout = kept
    with diverted():
        print("third")
    assert sys.stdout is before
    assert capsys.readouterr() == ("second\n", "first\nthird\n")


def test_a_slow_plugin_is_named_while_it_is_waited_for(
    install: Install, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, and it is used all the same."""
    warned = threading.Event()
    monkeypatch.setattr(loading, "SLOW", 0.01)
    tell = loading._tell_slow

    def told(claim: Claim) -> None:
        tell(claim)
        warned.set()

    monkeypatch.setattr(loading, "_tell_slow", told)
    monkeypatch.setattr(plugins, "t_warned", warned, raising=False)
    waiting = "from sage.core import plugins\nassert plugins.t_warned.wait(60)\n"
    install("sage-t-late", "t_late", waiting + textwrap.dedent(BACKEND))
    for _ in range(2):
        assert plugins.backend("t_late").capabilities == frozenset()
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "importing the plugin 't_late' of sage-t-late 1.2 (t_late = t_late) takes more"
    )


# Reading metadata


@pytest.mark.parametrize("unusual", [True, False])
def test_what_is_installed_is_read_alike_with_and_without_importlib(
    install: Install, monkeypatch: pytest.MonkeyPatch, unusual: bool
) -> None:
    """Where a zip file may hold distributions, `importlib.metadata` is asked, and says the same."""
    from importlib.metadata import entry_points

    site = install("Sage_T.Meta", "t_meta", BACKEND, names=("t-meta", "t.meta"), value="t_meta:thing [extra]")
    install("sage-t-meta", "t_other", BACKEND)  # the same distribution again: this one comes first
    (site / "t_egg.egg-info").mkdir()
    (site / "t_egg.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: t-egg\nVersion: 3\n")
    (site / "t_egg.egg-info" / "entry_points.txt").write_text(
        "# by hand\n[sage.plugins]\nt_egg = t_egg_module\n\n[console_scripts]\nx = y\n"
    )
    if unusual:
        archive = site / "some.zip"
        archive.write_bytes(b"PK\x05\x06" + bytes(18))
        monkeypatch.syspath_prepend(str(archive))
    else:
        monkeypatch.syspath_prepend(str(site / "nothing"))
    for group in ("sage.backends", "sage.plugins", "sage.commands"):
        found = {(name, claim.value) for name, claims in scan(group).items() for claim in claims}
        assert found == {(item.name, item.value) for item in entry_points(group=group)}
    (claim,) = scan("sage.plugins")["t_egg"]
    assert distribution_of(claim) == ("t-egg", "3")


# Disabled plugins


@pytest.mark.parametrize("entry", ["sage-t-off", "Sage_T.Off", "t_off"])
def test_a_disabled_plugin_is_not_there(install: Install, monkeypatch: pytest.MonkeyPatch, entry: str) -> None:
    """By distribution, however it is spelled, or by entry point; the error tells why."""
    install("sage-t-off", "t_off", BACKEND)
    assert "t_off" in plugins.installed_backends()
    monkeypatch.setenv("SAGE_PLUGINS__DISABLE", f"[{entry}]")
    assert "t_off" not in plugins.installed_backends()
    with pytest.raises(UnknownBackendError, match="'t_off' is disabled"):
        plugins.backend("t_off")
    assert [each.disabled for each in plugins.installed_plugins() if each.name == "t_off"] == [True]
    monkeypatch.delenv("SAGE_PLUGINS__DISABLE")
    assert "t_off" in plugins.installed_backends()


def test_the_configuration_file_disables_plugins(install: Install, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`plugins.disable` of the file counts."""
    monkeypatch.delenv("SAGE_PLUGINS__DISABLE")
    install("sage-t-file", "t_file", BACKEND)
    (home / "config.yaml").write_text("plugins: {disable: [t_file]}\n")
    assert "t_file" not in plugins.installed_backends()


def test_a_mistake_elsewhere_in_the_file_does_not_hide_the_plugins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that disables nothing need not be right to list what is installed; one that does must be."""
    monkeypatch.delenv("SAGE_PLUGINS__DISABLE")
    (home / "config.yaml").write_text("daemon: {prot: 1}\n")
    assert "local" in plugins.installed_backends()
    (home / "config.yaml").write_text("daemon: {prot: 1}\nplugins: {disable: []}\n")
    with pytest.raises(ConfigError, match="prot"):
        plugins.installed_backends()


def test_a_disabled_command_says_so(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are barred as backends are."""
    install("sage-t-coff", "t_coff", COMMAND, group="sage.commands")
    monkeypatch.setenv("SAGE_PLUGINS__DISABLE", "[t_coff]")
    assert "t_coff" not in plugins.installed_commands()
    with pytest.raises(PluginError, match="'t_coff' is disabled"):
        plugins.load_command("t_coff")


# Commands


def test_commands_are_listed_with_their_help_and_not_imported(install: Install) -> None:
    """From `sage_commands.json` beside the module, else from the distribution's Summary."""
    helps = json.dumps({"t-hello": "Say\n  hello."})
    broken = "raise RuntimeError('never import me')"
    install("sage-t-hello", "t_pkg.deep.hello", broken, group="sage.commands", names=("t-hello",), helps=helps)
    install("sage-t-bare", "t_bare", broken, group="sage.commands", summary="Does  little.")
    listed = plugins.installed_commands()
    assert listed["t-hello"] == "Say hello."
    assert listed["t_bare"] == "Does little."
    assert list(listed) == sorted(listed)
    assert "t_pkg" not in sys.modules


def test_helps_are_found_beside_a_package(install: Install) -> None:
    """Where the entry point names a package, the file lies in it; its parents are not imported."""
    site = install(
        "sage-t-package", "t_parent.__init__", "raise RuntimeError", group="sage.commands", value="t_parent.sub"
    )
    sub = site / "t_parent" / "sub"
    sub.mkdir()
    (sub / "__init__.py").write_text("raise RuntimeError")
    (sub / "sage_commands.json").write_text('{"t_parent.__init__": "From the package."}')
    (entry_point,) = scan("sage.commands")["t_parent.__init__"]
    assert help_of(entry_point) == "From the package."
    assert "t_parent" not in sys.modules


@pytest.mark.parametrize("helps", ["{", "[1]", "\xff"])
def test_a_broken_file_of_helps_breaks_no_listing(install: Install, helps: str) -> None:
    """The fault is told in place of the help."""
    install("sage-t-json", "t_json.mod", "", group="sage.commands", names=("t-json",), helps=helps)
    assert "sage_commands.json cannot be read" in plugins.installed_commands()["t-json"]


@pytest.mark.parametrize("helps", ["{}", '{"t-other": "x"}', '{"t-without": 3}', '{"t-without": " "}'])
def test_without_an_entry_the_summary_is_the_help(install: Install, helps: str) -> None:
    """A file of helps need not have all of them."""
    install("sage-t-without", "t_without.mod", "", group="sage.commands", names=("t-without",), helps=helps)
    assert plugins.installed_commands()["t-without"] == "A throw-away plugin."


def test_a_command_is_loaded_by_name(install: Install) -> None:
    """The hook's result comes back; sage-cli makes a command of it."""
    install("sage-t-cmd", "t_cmd", COMMAND, group="sage.commands", names=("t-cmd", "job.t-export"))
    assert plugins.load_command("t-cmd") == {"command": "t-cmd"}
    assert plugins.load_command("job.t-export") == {"command": "job.t-export"}


def test_an_unknown_command_lists_those_installed(install: Install) -> None:
    """The error names what there is."""
    install("sage-t-list", "t_list", COMMAND, group="sage.commands")
    with pytest.raises(PluginError, match=r"there is no command 'nope'; installed: .*t_list"):
        plugins.load_command("nope")


def test_a_backend_is_no_command(install: Install) -> None:
    """A module in the wrong group is told by the hook it lacks."""
    install("sage-t-group", "t_group", BACKEND, group="sage.commands")
    with pytest.raises(PluginError, match="it has no sage_command"):
        plugins.load_command("t_group")


def test_everything_installed_is_listed_from_metadata(install: Install) -> None:
    """Group, name, module, distribution and version, connectors and hooks included."""
    install("sage-t-conn", "t_conn", "raise RuntimeError", group="sage.connectors", version="0.9")
    install("sage-t-job", "t_job", "raise RuntimeError", group="sage.plugins")
    found = {(each.group, each.name): each for each in plugins.installed_plugins()}
    connector = found["sage.connectors", "t_conn"]
    assert (connector.value, connector.distribution, connector.version) == ("t_conn", "sage-t-conn", "0.9")
    assert ("sage.plugins", "t_job") in found
    assert found["sage.backends", "local"].distribution == "sage-core"
    assert not {"t_conn", "t_job"} & set(sys.modules)


# The context of commands


def test_outside_of_a_command_there_is_no_context() -> None:
    """Calling it at import is the likely slip, and the hint says so."""
    with pytest.raises(PluginError, match="outside of a running sage command") as caught:
        plugins.command_context()
    assert caught.value.hint is not None
    assert "imported" in caught.value.hint


def test_the_context_that_was_set_is_given() -> None:
    """sage-cli sets it for a run and puts back what was there."""

    class Fake:
        pass

    context: Any = Fake()
    assert set_command_context(context) is None
    try:
        assert plugins.command_context() is context
    finally:
        assert set_command_context(None) is context


# The package itself


def test_public_names_are_there() -> None:
    """`__all__` is sorted and complete."""
    assert sorted(plugins.__all__) == plugins.__all__
    for name in plugins.__all__:
        assert hasattr(plugins, name)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = plugins.no_such_name


def test_importing_the_package_loads_nothing_heavy() -> None:
    """pluggy, importlib.metadata, yaml and http wait until they are needed."""
    code = (
        "import sys, sage.core.plugins, sage.core.client, sage.core.config\n"
        "heavy = {'pluggy', 'importlib.metadata', 'yaml', 'http.client', 'ssl', 'email', 'cloudpickle', 'difflib'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SAGE_", "COV"))}
    subprocess.run([sys.executable, "-c", code], check=True, env=env, timeout=60)
