"""Packages written by an author's program and opened in another process, elsewhere, without the author's folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

PRELUDE = """
def pack(*targets, form="callable", args=(), **options):
    import uuid
    from pathlib import Path
    from sage.core.client.code import write_package
    from sage.core.client.package import PackageJob
    from sage.core.graph.model import FunctionSpec, LogicalGraph, Operator, SourceLocation

    operators = tuple(
        Operator(number, f"map#{number}", "map", "m", FunctionSpec(form, target, args), 1, SourceLocation("main.py", 1))
        for number, target in enumerate(targets)
    )
    job = PackageJob("00000000-0000-4000-8000-000000000000", "test", "local")
    return write_package(Path(OUT), LogicalGraph("test", operators, ()), job, **options)
"""

OPENER = """
import sys
from pathlib import Path
from sage.core.client.code import open_package
manifest, graph = open_package(Path(sys.argv[1]), Path(sys.argv[2]))
targets = [operator.function.target for operator in graph.operators]
exec(sys.argv[3], {"targets": targets, "graph": graph, "manifest": manifest, "__name__": "checks"})
"""


class Travel:
    """An author's folder, a job's folder, and the way from one to the other."""

    def __init__(self, folder: Path) -> None:
        self.author = folder / "author"
        self.elsewhere = folder / "elsewhere"
        self.package = folder / "job.sagepkg"
        self.code = self.elsewhere / "code"
        self.author.mkdir()
        self.elsewhere.mkdir()

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            file = self.author / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text))

    def run(self, *command: str, cwd: Path, stdin: str | None = None, **env: str) -> str:
        base = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run(
            [sys.executable, "-W", "error", *command],
            cwd=cwd,
            env={**base, **env},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def pack(self, script: str, files: Mapping[str, str] | None = None, *how: str, **env: str) -> str:
        """Run the author's script, which calls ``pack``; the folder is out of the way afterwards."""
        self.write(files or {})
        text = f"OUT = {str(self.package)!r}\n" + PRELUDE + textwrap.dedent(script)
        (self.author / "main.py").write_text(text)
        out = self.run(*(how or ("main.py",)), cwd=self.author, **env)
        self.author.rename(self.author.with_name("gone"))
        return out

    def open(self, check: str) -> str:
        """Open the package in a process of its own and run ``check`` there, with the graph's ``targets``."""
        return self.run(
            "-P", "-c", OPENER, str(self.package), str(self.code), textwrap.dedent(check), cwd=self.elsewhere
        )

    def members(self) -> list[str]:
        with zipfile.ZipFile(self.package) as archive:
            return archive.namelist()


@pytest.fixture
def travel(tmp_path: Path) -> Travel:
    return Travel(tmp_path)


# Local modules


def test_a_module_used_as_an_attribute_travels(travel: Travel) -> None:
    """``helper.f(…)`` in a lambda takes helper.py along, and what helper imports inside a function."""
    travel.pack(
        "import helper\npack(lambda x: helper.f(x))",
        {
            "helper.py": "def f(x):\n    import helper2\n    return helper2.g(x)\n",
            "helper2.py": "def g(x):\n    return x * 10\n",
            "unrelated.py": "raise SystemExit('never imported')",
        },
    )
    travel.open("assert targets[0](4) == 40")
    assert travel.members() == ["manifest.json", "graph.pkl", "modules/helper.py", "modules/helper2.py"]


def test_a_class_imported_by_name_travels(travel: Travel) -> None:
    """``from local import Thing`` used in a lambda imports the module over there."""
    travel.pack(
        "from local import Thing, double\nthing = Thing(3)\npack(lambda x: Thing(x).value + thing.value, double)",
        {
            "local.py": """
                class Thing:
                    def __init__(self, value):
                        self.value = value
                def double(x):
                    return 2 * x
            """
        },
    )
    travel.open("""
        import sys
        assert targets[0](4) == 7
        assert targets[1](4) == 8
        assert sys.modules["local"].__file__.endswith("code/modules/local.py")
        assert targets[1] is sys.modules["local"].double
    """)


def test_an_import_inside_a_function_of_main_travels(travel: Travel) -> None:
    """Imports that only happen in the job are found in the byte code, those by literal name included."""
    travel.pack(
        """
        def lazily(x):
            from tools.units import KILO
            import importlib
            extra = importlib.import_module("extra")
            return x * KILO + extra.ONE
        pack(lazily)
        """,
        {"tools/units.py": "KILO = 1000\n", "extra.py": "ONE = 1\n"},
    )
    travel.open("assert targets[0](2) == 2001")


def test_a_package_with_relative_imports_travels_whole(travel: Travel) -> None:
    """Of a regular package every module travels, with small data files; caches and hidden files do not."""
    travel.pack(
        """
        import shop.prices
        pack(shop.prices.total)
        """,
        {
            "shop/__init__.py": "from .prices import total\n",
            "shop/prices.py": """
                from . import rates
                from .deep.core import add
                def total(x):
                    return add(x, rates.RATE)
            """,
            "shop/rates.py": "RATE = 5\n",
            "shop/deep/__init__.py": "",
            "shop/deep/core.py": """
                from ..rates import RATE
                from outside import ZERO
                def add(a, b):
                    return a + b + ZERO
            """,
            "shop/by_name.py": "NAME = 'found'\n",
            "shop/data/table.csv": "a,b\n",
            "shop/.secret": "x",
            "shop/.git/config": "x",
            "shop/venv/pyvenv.cfg": "",
            "shop/venv/lib/thing.py": "",
            "outside.py": "ZERO = 0\n",
        },
    )
    travel.open("""
        import importlib, importlib.resources
        assert targets[0](1) == 6
        assert importlib.import_module("shop.by_name").NAME == "found"
        assert importlib.resources.files("shop").joinpath("data/table.csv").read_text() == "a,b\\n"
    """)
    assert set(travel.members()) == {
        "manifest.json",
        "graph.pkl",
        "modules/outside.py",
        "modules/shop/__init__.py",
        "modules/shop/by_name.py",
        "modules/shop/data/table.csv",
        "modules/shop/deep/__init__.py",
        "modules/shop/deep/core.py",
        "modules/shop/prices.py",
        "modules/shop/rates.py",
    }


def test_imports_in_odd_places_are_found(travel: Travel) -> None:
    """On one line with other statements, over two lines, by literal name, or in a file with odd escapes."""
    travel.pack(
        """
        import warnings
        warnings.simplefilter("ignore")
        import plain, shop
        warnings.simplefilter("error")
        pack(shop.f)
        """,
        {
            "plain.py": 'PATTERN = "\\d"\nif PATTERN: import one\n',
            "shop/__init__.py": "def f(x):\n    from . import a\n    return a.f()\n",
            "shop/a.py": """
                import importlib
                def f():
                    x = 1; from two \\
                        import TWO
                    import json, three as t
                    four = importlib.import_module("four")
                    import plain
                    return plain.one.ONE, TWO, t.THREE, four.FOUR
            """,
            "shop/never_reached.py": "from five import FIVE\n",
            **{f"{name}.py": f"{name.upper()} = {name!r}\n" for name in ("one", "two", "three", "four", "five", "six")},
        },
    )
    travel.open("""
        import warnings
        warnings.simplefilter("ignore")
        assert targets[0](0) == ("one", "two", "three", "four")
    """)
    assert "modules/five.py" in travel.members()
    assert "modules/six.py" not in travel.members()


def test_of_a_namespace_package_only_what_is_imported_travels(travel: Travel) -> None:
    """A folder without ``__init__.py`` may be anybody's home, so its other files stay there."""
    travel.pack(
        "import space.one\nimport space.inner.three as three\npack(lambda x: space.one.f(x) + three.THREE)",
        {
            "space/one.py": "def f(x):\n    from space.two import TWO\n    return x + TWO\n",
            "space/two.py": "TWO = 2\n",
            "space/inner/three.py": "THREE = 3\n",
            "space/other.py": "",
            "space/letter.txt": "dear diary",
        },
    )
    travel.open("assert targets[0](1) == 6")
    assert not {"modules/space/other.py", "modules/space/letter.txt"} & set(travel.members())


def test_submodules_reached_only_in_nested_code_are_imported(travel: Travel) -> None:
    """``import pkg.sub`` and ``pkg.sub.f`` inside an inner function works: the submodule is imported over there."""
    travel.pack(
        """
        import pkg.sub
        import xml.etree.ElementTree
        def outer(x):
            def inner():
                return pkg.sub.f(x), xml.etree.ElementTree.fromstring("<a/>").tag
            return inner()
        pack(outer)
        """,
        {"pkg/__init__.py": "", "pkg/sub.py": "def f(x):\n    return -x\n"},
    )
    travel.open("assert targets[0](1) == (-1, 'a')")


def test_relative_imports_of_a_program_run_as_a_module_travel(travel: Travel) -> None:
    """``python -m app.main`` has a package, which its functions' imports start from."""
    travel.write({"app/__init__.py": "", "app/near.py": "def f(x):\n    return x + 1\n", "app/far.py": "Y = 5\n"})
    text = "from . import near\ndef g(x):\n    from .far import Y\n    return near.f(x) + Y\npack(g)\n"
    (travel.author / "app/main.py").write_text(f"OUT = {str(travel.package)!r}\n{PRELUDE}{text}")
    travel.run("-m", "app.main", cwd=travel.author)
    travel.author.rename(travel.author.with_name("gone"))
    travel.open("assert targets[0](1) == 7")


def test_closures_of_a_local_module_share_its_globals(travel: Travel) -> None:
    """A lambda made by a local module runs in that module's own globals, which need not be picklable."""
    travel.pack(
        "import helper\npack(helper.make(2), helper.make(3))",
        {
            "helper.py": """
                import threading
                lock = threading.Lock()
                calls = 0
                def make(n):
                    def times(x):
                        global calls
                        with lock:
                            calls += 1
                        return x * n
                    return times
            """
        },
    )
    travel.open("""
        import helper
        assert (targets[0](5), targets[1](5), helper.calls) == (10, 15, 2)
    """)


def test_code_on_pythonpath_and_in_editable_installs_travels(travel: Travel, tmp_path: Path) -> None:
    """What counts is where the file lies, not how it came on ``sys.path``."""
    source = tmp_path / "project" / "src"
    source.mkdir(parents=True)
    (source / "lib_on_path.py").write_text("def f(x):\n    return x + 100\n")
    travel.pack("import lib_on_path\npack(lib_on_path.f)", None, PYTHONPATH=str(source))
    (source / "lib_on_path.py").unlink()
    travel.open("assert targets[0](1) == 101")


def test_installed_packages_do_not_travel(travel: Travel, tmp_path: Path) -> None:
    """Neither site-packages nor a folder of ``pip install --target`` is the author's own code."""
    target = tmp_path / "target"
    (target / "thing-1.0.dist-info").mkdir(parents=True)
    (target / "installed_thing.py").write_text("X = 1\ndef f(x):\n    return x\n")
    travel.pack("import installed_thing, pytest\npack(installed_thing.f, lambda: pytest)", None, PYTHONPATH=str(target))
    assert travel.members() == ["manifest.json", "graph.pkl"]


def test_a_module_that_is_missing_over_there_is_named(travel: Travel, tmp_path: Path) -> None:
    """The error says which module, and that only the author's own travel."""
    target = tmp_path / "target"
    (target / "thing-1.0.dist-info").mkdir(parents=True)
    (target / "installed_thing.py").write_text("def f(x):\n    return x\n")
    travel.pack("import installed_thing\npack(installed_thing.f)", None, PYTHONPATH=str(target))
    program = """
import sys
from pathlib import Path
from sage.core.client.code import open_package
from sage.core.errors import PackagingError
try:
    open_package(Path(sys.argv[1]), Path(sys.argv[2]))
except PackagingError as error:
    print(error)
    assert isinstance(error.__cause__, ModuleNotFoundError)
    assert error.path == "installed_thing"
"""
    out = travel.run("-P", "-c", program, str(travel.package), str(travel.code), cwd=travel.elsewhere)
    assert "No module named 'installed_thing'" in out
    assert "install what holds 'installed_thing'" in out


def test_a_module_without_a_file_travels_by_value(travel: Travel) -> None:
    """A module made by code exists only in memory, so it is made again."""
    travel.pack(
        '''
        import sys, types
        made = types.ModuleType("made_up")
        sys.modules["made_up"] = made
        code = """if True:
            class Point:
                def __init__(self, x):
                    self.x = x
            BASE = 7
            def f(x):
                return Point(x + BASE)
        """
        exec(code, vars(made))
        pack(made.f, lambda x: made.f(x).x)
        '''
    )
    travel.open("""
        import pickle, sys
        point = targets[0](1)
        assert point.x == 8 and targets[1](2) == 9
        assert type(pickle.loads(pickle.dumps(point))) is type(point) is sys.modules["made_up"].Point
    """)


# __main__


def test_classes_of_main_pickle_by_reference_over_there(travel: Travel) -> None:
    """State is pickled by reference, so instances must find their class in the job's ``__main__``, nested ones too."""
    travel.pack(
        """
        import dataclasses, typing, collections
        class Outer:
            class Inner:
                pass
            def make(self):
                return Outer.Inner()
        class Lonely:
            class Deep:
                pass
        @dataclasses.dataclass(frozen=True, slots=True)
        class Point:
            x: int
            tags: list = dataclasses.field(default_factory=list)
        class Pair(typing.NamedTuple):
            a: int
            b: str = "b"
        Count = collections.namedtuple("Count", "n")
        def records(x):
            return [Outer(), Outer().make(), Point(x), Pair(x), Count(x), deep()]
        deep = Lonely.Deep
        pack(records)
        """
    )
    travel.open("""
        import pickle, __main__
        made = targets[0](3)
        back = pickle.loads(pickle.dumps(made))
        assert [type(item) for item in back] == [type(item) for item in made]
        assert back[2:5] == made[2:5]
        assert type(made[1]) is __main__.Outer.Inner and type(made[-1]) is __main__.Lonely.Deep
        assert targets[0] is __main__.records
    """)


def test_class_level_state_and_references_stay_one_object(travel: Travel) -> None:
    """Operators that share a class share its attributes; two classes that refer to each other do so over there."""
    travel.pack(
        """
        class Base:
            seen = {}
            def __init__(self, x):
                self.x = x
        class Left(Base):
            def __init__(self, x):
                super().__init__(x + 1)
            def other(self):
                return Right(self.x)
        class Right(Base):
            def other(self):
                __class__.seen[self.x] = True
                return Left(self.x)
        Base.seen["submitted"] = 1
        pack(Left, Right, Left(1), Right(2), form="class")
        """
    )
    travel.open("""
        import __main__
        left, right, a, b = targets
        assert left is __main__.Left and right is __main__.Right and type(a) is left and type(b) is right
        assert a.x == 2 and type(a.other()) is right and type(b.other()) is left
        assert left.seen is right.seen is __main__.Base.seen == {"submitted": 1, 2: True}
    """)


def test_globals_of_main_are_shared(travel: Travel) -> None:
    """Functions of the script see each other's changes to globals, in the job's ``__main__``."""
    travel.pack(
        """
        count = 40
        def bump():
            global count
            count += 1
            return count
        def read():
            return count, __name__, __file__
        pack(bump, read)
        """
    )
    out = travel.open("""
        import __main__
        assert targets[0]() == 41
        assert targets[1]()[:2] == (41, "__main__") and __main__.count == 41
        print(targets[1]()[2])
    """)
    assert out.strip() == str(travel.author / "main.py")


def test_enumerations_travel_whole(travel: Travel) -> None:
    """Aliases, attributes set in ``__init__`` or ``__new__``, flags and methods are all there, by the same names."""
    travel.pack(
        """
        import datetime, enum
        class Color(enum.Enum):
            RED = 1
            GREEN = 2
            CRIMSON = 1
            def pretty(self):
                return self.name.lower()
            @classmethod
            def _missing_(cls, value):
                return cls.RED
        class Planet(enum.Enum):
            EARTH = (5.9, 6.3)
            MARS = (0.6, 3.3)
            def __init__(self, mass, radius):
                self.mass = mass
            @property
            def twice(self):
                return self.mass * 2
        class Coordinate(bytes, enum.Enum):
            def __new__(cls, value, label):
                member = bytes.__new__(cls, [value])
                member._value_ = value
                member.label = label
                return member
            PX = (0, "P.X")
            PY = (1, "P.Y")
        class Level(enum.IntEnum):
            LOW = 1
            HIGH = 2
        class Word(enum.StrEnum):
            HELLO = enum.auto()
        class Allowed(enum.Flag):
            READ = enum.auto()
            WRITE = enum.auto()
            BOTH = READ | WRITE
        class Bits(enum.IntFlag):
            A = 1
            B = 2
        class Day(datetime.date, enum.Enum):
            LEAP = 2024, 2, 29
        members = {"red": Color.RED, Planet.MARS: [Allowed.BOTH]}
        pack(Color, Planet, Coordinate, Level, Word, Allowed, Bits, Day, lambda: members)
        """
    )
    travel.open("""
        import datetime, pickle, __main__
        Color, Planet, Coordinate, Level, Word, Allowed, Bits, Day, members = targets
        assert list(Color.__members__) == ["RED", "GREEN", "CRIMSON"] and Color.CRIMSON is Color.RED
        assert Color.GREEN.pretty() == "green" and Color(99) is Color.RED and Color["RED"] is Color(1)
        assert (Planet.EARTH.mass, Planet.MARS.twice, Planet((0.6, 3.3))) == (5.9, 1.2, Planet.MARS)
        assert (Coordinate.PY.label, bytes(Coordinate.PY), Coordinate(1)) == ("P.Y", b"\\x01", Coordinate.PY)
        assert Level.HIGH + 1 == 3 and Level.LOW < Level.HIGH and Word.HELLO == "hello"
        assert Allowed.READ | Allowed.WRITE is Allowed.BOTH and ~Allowed.READ is Allowed.WRITE
        assert [item.name for item in Allowed] == ["READ", "WRITE"] and Bits.A | Bits.B == 3
        assert Day.LEAP == datetime.date(2024, 2, 29) and Day.LEAP.month == 2
        assert members() == {"red": Color.RED, Planet.MARS: [Allowed.BOTH]}
        for kind in (Color, Planet, Coordinate, Level, Word, Allowed, Bits):
            assert getattr(__main__, kind.__name__) is kind
            for member in kind:
                assert pickle.loads(pickle.dumps(member)) is member
        try:
            Planet("nothing")
        except ValueError as error:
            assert "is not a valid Planet" in str(error)
        else:
            raise AssertionError
    """)


def test_what_pickles_as_a_name_is_rebuilt(travel: Travel) -> None:
    """Cached functions, new types, single dispatch, cached properties and singletons of ``__main__`` work."""
    travel.pack(
        """
        import functools, typing
        UserId = typing.NewType("UserId", int)
        P = typing.ParamSpec("P")
        @functools.lru_cache(maxsize=7)
        def fib(n):
            return n if n < 2 else fib(n - 1) + fib(n - 2)
        @functools.singledispatch
        def kind(x):
            return "object"
        @kind.register
        def _(x: int):
            return "int"
        class Single:
            def __reduce__(self):
                return "SINGLE"
        SINGLE = Single()
        class Lazy:
            @functools.cached_property
            def value(self):
                return [1]
        def make():
            @functools.cache
            def local(x):
                return x + 1
            return local
        def check(x: UserId) -> typing.Callable[P, int]:
            return fib(x), kind(x), kind("s"), SINGLE, Lazy(), UserId(3)
        pack(check, fib, make())
        """
    )
    travel.open("""
        import pickle, __main__
        fib, kind, other, single, lazy, user = targets[0](20)
        assert (fib, kind, other, user) == (6765, "int", "object", 3)
        assert targets[1].cache_info().maxsize == 7 and targets[1] is __main__.fib
        assert single is __main__.SINGLE and pickle.loads(pickle.dumps(single)) is single
        assert lazy.value is lazy.value
        assert targets[2](1) == 2
        assert targets[0].__annotations__["x"] is __main__.UserId
    """)


def test_subclass_hooks_do_not_run_again(travel: Travel) -> None:
    """A registry filled by ``__init_subclass__`` arrives as it was, and the hook works for new subclasses."""
    travel.pack(
        """
        class Plugin:
            known = []
            def __init_subclass__(cls, *, key, **rest):
                super().__init_subclass__(**rest)
                Plugin.known.append((key, cls))
        class First(Plugin, key="first"):
            pass
        pack(lambda: Plugin)
        """
    )
    travel.open("""
        import __main__
        plugin = targets[0]()
        assert plugin.known == [("first", __main__.First)]
        class Second(plugin, key="second"):
            pass
        assert plugin.known[1:] == [("second", Second)]
    """)


def test_closures_generics_metaclasses_and_exceptions_travel(travel: Travel) -> None:
    """The rest of what people define in scripts."""
    travel.pack(
        """
        import abc, typing
        T = typing.TypeVar("T")
        class Box(typing.Generic[T]):
            def __init__(self, value: T):
                self.value = value
        class Meta(type):
            def __new__(mcs, name, bases, namespace):
                cls = super().__new__(mcs, name, bases, namespace)
                cls.made_by = mcs
                return cls
        class WithMeta(metaclass=Meta):
            pass
        class Shape(abc.ABC):
            @abc.abstractmethod
            def area(self): ...
        class Square(Shape):
            __slots__ = ("side",)
            def __init__(self, side):
                self.side = side
            def area(self):
                return self.side ** 2
        class Mistake(Exception):
            def __init__(self, code):
                super().__init__(f"code {code}")
                self.code = code
        def recursive():
            def down(n):
                return 0 if n == 0 else 1 + down(n - 1)
            return down
        def use(x):
            if x < 0:
                raise Mistake(x)
            return Box[int](x).value, WithMeta.made_by is Meta, Square(x).area()
        pack(use, recursive(), Shape)
        """
    )
    travel.open("""
        import __main__
        assert targets[0](3) == (3, True, 9)
        assert targets[1](5) == 5
        for bad in (lambda: targets[0](-1), targets[2]):
            try:
                bad()
            except (__main__.Mistake, TypeError) as error:
                assert getattr(error, "code", -1) == -1
            else:
                raise AssertionError
    """)


def test_a_class_defined_twice_keeps_each_users_own(travel: Travel) -> None:
    """In a notebook a class is often defined again; the newest takes the name, older instances keep their class."""
    travel.pack(
        """
        class Step:
            version = 1
        old = Step()
        class Step:
            version = 2
        pack(old, Step(), form="instance")
        """
    )
    travel.open("""
        import __main__
        assert [target.version for target in targets] == [1, 2]
        assert type(targets[1]) is __main__.Step
    """)


def test_a_script_from_standard_input_travels(travel: Travel) -> None:
    """Where ``__main__`` has no file, as in a console, its code travels all the same."""
    text = f"OUT = {str(travel.package)!r}\n{PRELUDE}\nimport beside\npack(lambda x: beside.f(x))\n"
    travel.write({"beside.py": "def f(x):\n    return x * 3\n"})
    travel.run("-", cwd=travel.author, stdin=text)
    travel.author.rename(travel.author.with_name("gone"))
    travel.open("assert targets[0](2) == 6")


def test_tracebacks_show_the_authors_source(travel: Travel) -> None:
    """Lines of the script, and of notebook cells known to linecache, are shown where the files are not."""
    travel.pack(
        """
        import linecache
        cell = "def in_cell(x):\\n    return x / 0  # the cell's line\\n"
        linecache.cache["<cell 1>"] = (len(cell), None, cell.splitlines(True), "<cell 1>")
        exec(compile(cell, "<cell 1>", "exec"))
        def in_script(x):
            return in_cell(x)  # the script's line
        pack(in_script)
        """
    )
    travel.open("""
        import linecache, traceback
        try:
            targets[0](1)
        except ZeroDivisionError:
            linecache.checkcache()
            text = traceback.format_exc()
        assert "# the cell's line" in text and "# the script's line" in text, text
    """)


def test_children_of_the_job_do_not_run_the_script_again(travel: Travel) -> None:
    """A process that the author's code starts by multiprocessing begins without the author's ``__main__``."""
    travel.pack(
        """
        import multiprocessing, os
        def work(x):
            context = multiprocessing.get_context("spawn")
            with context.Pool(1) as pool:
                return pool.apply(abs, (x,)), __file__
        pack(work)
        """
    )
    travel.open("assert targets[0](-3)[0] == 3")


def test_standard_output_travels_as_itself(travel: Travel) -> None:
    """A function that holds sys.stdout prints to the job's output."""
    travel.pack("import sys, functools\npack(functools.partial(print, 'hello', file=sys.stdout))")
    assert travel.open("targets[0]()") == "hello\n"


# Opening


def test_opening_again_uses_what_is_unpacked(travel: Travel) -> None:
    """A second attempt of a job opens the same folder, and runs the same code."""
    travel.pack("import helper\npack(helper.f)", {"helper.py": "def f(x):\n    return x + 1\n"})
    for _ in range(2):
        travel.open("assert targets[0](1) == 2")
    assert sorted(item.name for item in travel.elsewhere.iterdir()) == ["code"]
    assert (travel.code / "graph.pkl").stat().st_mode & 0o777 == 0o600
    assert travel.code.stat().st_mode & 0o777 == 0o700


def test_a_folder_with_another_package_is_refused(travel: Travel) -> None:
    """Two packages are never mixed in one folder."""
    travel.pack("pack(abs)")
    travel.open("assert targets[0](-1) == 1")
    manifest = travel.code / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"name":"test"', '"name":"other"'))
    with pytest.raises(AssertionError, match="holds another package"):
        travel.open("")


def test_a_damaged_package_leaves_nothing_behind(travel: Travel) -> None:
    """What cannot be unpacked whole is not there at all."""
    travel.pack("pack(abs)")
    data = bytearray(travel.package.read_bytes())
    data[data.index(b"graph.pkl", data.index(b"PK\x03\x04", 10)) + 12] ^= 0xFF
    travel.package.write_bytes(data)
    with pytest.raises(AssertionError, match="InvalidPackageError"):
        travel.open("")
    assert list(travel.elsewhere.iterdir()) == []


def test_a_module_named_like_one_of_ours_is_refused(travel: Travel) -> None:
    """A local module that the job's process has loaded from elsewhere would be silently replaced by that."""
    travel.pack(
        "import cloudpickle_like\npack(cloudpickle_like.f)", {"cloudpickle_like.py": "def f(x):\n    return x\n"}
    )
    program = "import sys, types\nsys.modules['cloudpickle_like'] = types.ModuleType('cloudpickle_like')\n" + OPENER
    with pytest.raises(AssertionError, match="has the name of one that SAGE itself uses"):
        travel.run("-P", "-c", program, str(travel.package), str(travel.code), "", cwd=travel.elsewhere)


# What is refused when packing

REFUSED = """
from sage.core.errors import PackagingError
import json
try:
    pack({call})
except PackagingError as error:
    problems = [str(problem) for problem in getattr(error, "problems", ())]
    print(json.dumps({{"message": error.message, "hint": error.hint, "path": error.path, "problems": problems}}))
import pathlib
assert not pathlib.Path(OUT).exists() and not list(pathlib.Path(OUT).parent.glob(".*.part"))
"""


def refused(
    travel: Travel, setup: str, call: str, files: Mapping[str, str] | None = None, **env: str
) -> dict[str, str]:
    out = travel.pack(textwrap.dedent(setup) + REFUSED.format(call=call), files, **env)
    answer: dict[str, str] = json.loads(out)
    return answer


def test_everything_that_cannot_travel_is_told_at_once(travel: Travel) -> None:
    """Each operator's culprit is named by the way to it."""
    answer = refused(
        travel,
        """
        import threading, socket
        conn = threading.Lock()
        class Holder:
            def __init__(self):
                self.parts = {"inner": [1, threading.Lock()]}
        def uses_global(x):
            return conn
        def make():
            sock = [threading.Event()]
            return lambda x: sock
        """,
        "Holder(), uses_global, make(), abs",
    )
    assert "3 parts of the pipeline" in answer["message"]
    paths = ["Holder.parts['inner'][1]", "global variable 'conn' of uses_global", "closure variable 'sock' of <lambda>"]
    assert answer["path"] == paths[0]
    for path, problem in zip(paths[:2], answer["problems"], strict=False):
        assert path in problem
    assert "(closure variable 'sock' of <lambda>)" in answer["problems"][2]
    assert "cannot pickle '_thread.lock' object" in answer["message"]
    assert all(problem.startswith("main.py:1: map 'm': ") for problem in answer["problems"])


def test_a_sage_beside_the_script_is_refused(travel: Travel) -> None:
    """A ``sage.py`` on the path would hide SAGE from everything imported later."""
    answer = refused(
        travel, "import sage.core.client.code\nimport sys\nsys.path.insert(0, 'lib')", "abs", {"lib/sage.py": ""}
    )
    assert "lib/sage.py cannot be sent: it hides SAGE" in answer["message"]
    assert answer["hint"] == "rename or remove it"


def test_a_sage_package_beside_the_script_is_refused(travel: Travel) -> None:
    """The same for a folder ``sage`` with an ``__init__.py``."""
    setup = "import sage.core.client.code\nimport sys\nsys.path.insert(0, 'lib')"
    answer = refused(travel, setup, "abs", {"lib/sage/__init__.py": ""})
    assert "lib/sage/__init__.py cannot be sent" in answer["message"]


def test_a_module_that_hides_the_standard_library_is_refused(travel: Travel) -> None:
    """The job's process may have the real one loaded already."""
    answer = refused(travel, "import colorsys", "colorsys.f", {"colorsys.py": "def f(x):\n    return x\n"})
    assert "colorsys.py cannot be sent: it hides the standard library's module 'colorsys'" in answer["message"]


def test_a_module_whose_name_cannot_travel_is_refused(travel: Travel) -> None:
    """Names in packages are plain ASCII."""
    answer = refused(travel, "import größe", "größe.f", {"größe.py": "def f(x):\n    return x\n"})
    assert "größe.py cannot be sent: its name cannot travel" in answer["message"]


def test_too_many_records_are_refused(travel: Travel) -> None:
    """A graph that holds more than a package may is told so, before memory runs out."""
    setup = "from sage.core.client.package import PackageLimits\nimport random"
    call = "abs, args=(random.Random(1).randbytes(100_000),), limits=PackageLimits(max_unpacked=50_000)"
    answer = refused(travel, setup, call)
    assert "have more than 50,000 bytes" in answer["message"]
    assert answer["path"] == "graph.pkl"


def test_a_package_that_is_too_large_names_its_largest_files(travel: Travel) -> None:
    """What fits unpacked may still be too large to send."""
    setup = "from sage.core.client.package import PackageLimits\nimport random"
    call = "abs, args=(random.Random(1).randbytes(100_000),), limits=PackageLimits(max_bytes=50_000)"
    answer = refused(travel, setup, call)
    assert "more than the 50,000 allowed" in answer["message"]
    assert "graph.pkl (1" in answer["hint"]


def test_large_data_of_a_package_is_left_out_and_told(travel: Travel) -> None:
    """Package data above the bound stays at home with a warning, modules never do."""
    travel.write({"shop/__init__.py": "def f(x):\n    return x\n", "shop/odd name.txt": "x"})
    (travel.author / "shop/big.bin").write_bytes(bytes(2 * 1024 * 1024))
    out = travel.pack(
        "import logging, sys\nlogging.basicConfig(stream=sys.stdout, level='WARNING')\nimport shop\npack(shop.f)"
    )
    assert "left out of the package of job 'test': " in out
    assert "shop/big.bin" in out and "shop/odd name.txt" in out
    assert travel.members() == ["manifest.json", "graph.pkl", "modules/shop/__init__.py"]


def test_the_same_program_gives_the_same_package(travel: Travel) -> None:
    """Equal content is equal bytes, so that a repeated submission is recognised by its hash."""
    digests = travel.pack("f = lambda x: x + 1\nprint(pack(f))\nprint(pack(f))").split()
    assert digests[0] == digests[1] and len(digests[0]) == 64


def test_options_must_be_plain_json(travel: Travel) -> None:
    """Infinity and objects have no place in the public graph."""
    script = """
    from pathlib import Path
    from sage.core.client.code import write_package
    from sage.core.client.package import PackageJob
    from sage.core.errors import PackagingError
    from sage.core.graph.model import LogicalGraph
    job = "00000000-0000-4000-8000-000000000000"
    for wrong in (
        PackageJob(job, "test", "local", {"x": float("inf")}),
        PackageJob(job, "test", "local", {"x": object()}),
        PackageJob(job, "a\\nb", "local"),
        PackageJob(job, "", "local"),
        PackageJob(job.upper() + "A", "x", "local"),
        PackageJob(job, "x", "No Such"),
    ):
        try:
            write_package(Path(OUT), LogicalGraph("g", (), ()), wrong)
        except PackagingError as error:
            print(error.path)
    """
    assert travel.pack(script).split() == ["options", "options", "job", "job", "job", "job"]
