"""The caller's own code travels with the call, and installed packages stay where they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from spoolmw.client import Spool
from spoolmw.errors import SpoolmwError, TaskFailed
from tests.support.daemon import ROOT, Daemon, running

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    config = '[agents.local]\nkind = "local"\nslots = 2\n'
    with running(tmp_path_factory.mktemp("served"), config=config) as daemon:
        yield daemon


@pytest.fixture
def spool(served: Daemon) -> Spool:
    return Spool(served.spool)


@pytest.fixture
def run(served: Daemon, tmp_path: Path) -> Run:
    """Run a program (and modules beside it) as its author would; what it prints, as JSON."""

    def run(program: str, *, python: str = sys.executable, **modules: str) -> Any:
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        script = tmp_path / "program.py"
        head = "import json, sys\nfrom spoolmw import Spool\n"
        script.write_text(head + textwrap.dedent(program))
        done = subprocess.run(
            [python, str(script), str(served.spool)], cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_a_lambda_travels(spool: Spool) -> None:
    assert spool.submit(lambda n: n + 1, 41).result(60) == 42


def test_a_closure_travels_with_what_it_closes_over(spool: Spool) -> None:
    def adder(n: int) -> Callable[[int], int]:
        return lambda m: n + m

    assert spool.submit(adder(40), 2).result(60) == 42


def test_a_closure_that_changes_is_sent_as_it_is_at_each_call(spool: Spool) -> None:
    count = 0

    def current() -> int:
        return count

    tasks = []
    for count in range(3):  # noqa: B007  # the closure reads it
        tasks.append(spool.submit(current))
    assert [task.result(60) for task in tasks] == [0, 1, 2]


def test_a_bound_method_and_a_callable_object_travel(spool: Spool) -> None:
    class Counter:
        def __init__(self) -> None:
            self.total = 40

        def add(self, n: int) -> int:
            return self.total + n

        __call__ = add

    assert spool.submit(Counter().add, 2).result(60) == 42
    assert spool.submit(Counter(), 2).result(60) == 42


def test_a_recursive_function_travels(spool: Spool) -> None:
    def factorial(n: int) -> int:
        return 1 if n < 2 else n * factorial(n - 1)

    assert spool.submit(factorial, 10).result(60) == 3628800


def test_a_function_of_main_travels_with_the_classes_of_main(run: Run) -> None:
    program = """
        class Point:
            def __init__(self, x): self.x = x

        SCALE = 10

        def scaled(point): return Point(point.x * SCALE)

        if __name__ == "__main__":
            value = Spool(sys.argv[1]).submit(scaled, Point(4.2)).result(60)
            print(json.dumps([type(value) is Point, value.x]))
    """
    assert run(program) == [True, 42.0]


def test_a_module_beside_the_script_travels_with_what_it_imports(run: Run) -> None:
    program = """
        import physics

        spool = Spool(sys.argv[1])
        values = [
            spool.submit(physics.energy, 3).result(60),
            list(spool.map(physics.energy, [1, 2], chunk=2)),
            list(spool.executor().map(physics.energy, [1, 2], chunksize=2)),
            spool.submit(physics.Atom(3).energy).result(60),
        ]
        try:
            spool.submit(physics.fail).result(60)
        except physics.Unstable as error:
            values.append(str(error))
        print(json.dumps(values))
    """
    physics = """
        import constants

        class Unstable(Exception): pass

        class Atom:
            def __init__(self, mass): self.mass = mass
            def energy(self): return energy(self.mass)

        def energy(mass): return mass * constants.C ** 2

        def fail(): raise Unstable("decayed")
    """
    values = run(program, physics=physics, constants="C = 10")
    assert values == [300, [100, 200], [100, 200], 300, "decayed"]


def test_a_package_beside_the_script_travels(run: Run, tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "__init__.py").write_text("")
    (tmp_path / "lab" / "deep.py").write_text("def answer(): return 42\n")
    (tmp_path / "lab" / "face.py").write_text(
        "from lab import deep\nfrom lab.deep import answer\n"
        "def ask(): return [answer(), deep.answer()]\n"
    )
    program = """
        from lab.face import ask
        print(json.dumps(Spool(sys.argv[1]).submit(ask).result(60)))
    """
    assert run(program) == [42, 42]


def test_functions_of_a_notebook_travel(run: Run) -> None:
    """A kernel executes each cell's text in the namespace of `__main__`; no cell is a file."""
    program = """
        cells = [
            "import math",
            "BASE = 40",
            "def area(r):\\n    return BASE + math.floor(r)",
            "first = spool.submit(area, 2.5).result(60)",
            "BASE = 50",
            "second = spool.submit(area, 2.5).result(60)",
        ]
        spool = Spool(sys.argv[1])
        for number, cell in enumerate(cells):
            exec(compile(cell, f"<cell {number}>", "exec"), globals())
        print(json.dumps([first, second]))
    """
    assert run(program) == [42, 52]


def test_functions_made_by_exec_in_a_namespace_of_their_own_travel(spool: Spool) -> None:
    namespace: dict[str, Any] = {"__name__": "cell_7"}
    exec("def double(n):\n    return 2 * n\ndef more(n):\n    return double(n) + 2", namespace)
    assert spool.submit(namespace["more"], 20).result(60) == 42


def test_a_call_gets_clean_surroundings(spool: Spool) -> None:
    def look() -> tuple[list[str], bool, str]:
        return os.listdir(), "PYTHONPATH" in os.environ, os.environ["A"]

    assert spool.options(env={"A": "1"}).submit(look).result(60) == ([], False, "1")


# -- other environments ----------------------------------------------------------------------


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with numpy, and with a module that is nowhere else; its Python."""
    home = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    done = subprocess.run(
        [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check",
         "numpy", "cloudpickle", "watchdog"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        if os.environ.get("CI"):
            pytest.fail(f"no virtual environment could be made: {done.stderr}")
        pytest.skip(f"packages cannot be had here: {done.stderr.strip()[-200:]}")
    [packages] = (home / "lib").glob("python*/site-packages")
    (packages / "only_here.py").write_text("def answer(): return 42\n")
    return python


def test_a_call_runs_in_the_environment_of_its_caller(environment: Path, run: Run) -> None:
    program = """
        import numpy, only_here

        def work(n):
            import numpy
            return numpy.arange(n).reshape(2, -1), numpy.__file__, only_here.answer(), sys.prefix

        matrix, file, answer, prefix = Spool(sys.argv[1]).submit(work, 6).result(30)
        assert isinstance(matrix, numpy.ndarray)
        print(json.dumps([matrix.tolist(), file, answer, prefix]))
    """
    matrix, file, answer, prefix = run(program, python=str(environment))
    home = environment.parent.parent
    assert matrix == [[0, 1, 2], [3, 4, 5]]
    assert Path(file).is_relative_to(home)
    assert (answer, prefix) == (42, str(home))


def test_arrays_come_back_as_arrays(environment: Path, run: Run) -> None:
    program = """
        import numpy as np
        spool = Spool(sys.argv[1])
        big = np.random.default_rng(1).normal(size=(200, 300))
        same = spool.submit(lambda a: a, big).result(30)
        doubled = sum(spool.map(np.sum, np.split(big, 4)))
        close = bool(np.isclose(doubled, big.sum()))
        print(json.dumps([bool((same == big).all()), str(same.dtype), close]))
    """
    assert run(program, python=str(environment)) == [True, "float64", True]


def test_a_module_that_the_environment_has_not_is_named(spool: Spool) -> None:
    def work() -> None:
        import no_such_module_anywhere  # noqa: F401, PLC0415

    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        spool.submit(work).result(60)


def test_a_package_that_only_the_caller_has_is_named(
    served: Daemon, environment: Path, run: Run
) -> None:
    """Sent by reference to another interpreter, which has no such package."""
    program = """
        import only_here
        try:
            Spool(sys.argv[1]).options(interpreter=%r).submit(only_here.answer).result(30)
        except Exception as error:
            print(json.dumps([type(error).__name__, str(error)]))
    """
    kind, text = run(program % sys.executable, python=str(environment))
    assert kind in ("TaskFailed", "ModuleNotFoundError")
    assert "only_here" in text


def test_a_missing_interpreter_falls_back_to_the_same_minor_version(spool: Spool) -> None:
    version = spool.options(interpreter="/nowhere/bin/python").submit(
        lambda: sys.version_info[:2]
    )
    assert version.result(60) == sys.version_info[:2]


def test_a_missing_interpreter_of_another_version_is_an_error_that_says_so(
    spool: Spool,
) -> None:
    task = spool.options(interpreter="/nowhere/bin/python", python="3.99").submit(abs, -1)
    with pytest.raises(TaskFailed) as raised:
        task.result(60)
    assert "3.99" in str(raised.value)
    assert "/nowhere/bin/python" in str(raised.value)


def test_an_unpicklable_argument_is_an_error_that_names_it(spool: Spool) -> None:
    with pytest.raises(SpoolmwError, match=r"argument 2 of isinstance .*\n.*generator"):
        spool.submit(isinstance, 1, (n for n in "x"))


def test_an_unpicklable_value_is_an_error_that_names_it(spool: Spool) -> None:
    with pytest.raises(TaskFailed, match="generator"):
        spool.submit(lambda: (n for n in "x")).result(60)


def test_a_value_that_safe_refuses_is_an_error_that_says_so(spool: Spool) -> None:
    with pytest.raises(TaskFailed, match="safe"):
        spool.options(result="safe").submit(lambda: object).result(60)
