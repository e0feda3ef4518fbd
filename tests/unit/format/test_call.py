"""Calls travel whole: the caller's own code by value, installed packages by reference."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from spoolmw.errors import BadResultFile, SpoolmwError
from spoolmw.format.byvalue import is_own
from spoolmw.format.call import NotPicklable, dump_call, load_value
from spoolmw.runner import safe


def call_again(body: bytes) -> Any:
    function, args, kwargs = pickle.loads(body)
    return function(*args, **kwargs)


FACTOR = 3


def own(x: int) -> int:
    return x * FACTOR


def test_a_body_is_one_pickle_of_function_arguments_and_keywords() -> None:
    function, args, kwargs = pickle.loads(dump_call(divmod, (7, 2), {}))
    assert (function, args, kwargs) == (divmod, (7, 2), {})


@pytest.mark.parametrize(
    "args",
    [
        (),
        (1,),
        (1, 2, 3, 4),
        ("twice", "twice", b"twice", b"twice"),
        ("long" * 100_000, b"x" * 100_000),
        (2**80, -1, 1.5, 1j, None, True),
    ],
)
def test_plain_arguments_travel_whoever_reads_them(args: tuple[Any, ...]) -> None:
    def give(*given: Any) -> Any:
        return given

    body = dump_call(give, args)
    slow = pickle._loads  # type: ignore[attr-defined]  # the library's own reader in Python
    for loads in (pickle.loads, slow):
        function, given, keywords = loads(body)
        assert (function(*given), given, keywords) == (args, args, {})


@pytest.mark.parametrize(
    ("function", "args", "value"),
    [
        (own, (2,), 6),
        (lambda x: x + 1, (1,), 2),
        (math.sqrt, (4.0,), 2.0),
        (np.sum, (np.arange(4),), 6),
        (str.upper, ("a",), "A"),
        (dict, ((("a", 1),),), {"a": 1}),
    ],
)
def test_all_sorts_of_functions_travel(
    function: Callable[..., Any], args: tuple[Any, ...], value: object
) -> None:
    for _ in range(2):
        assert call_again(dump_call(function, args)) == value


def test_a_closure_travels_with_what_it_holds_now() -> None:
    held = 1

    def function() -> int:
        return held

    assert call_again(dump_call(function)) == 1
    held = 2
    assert call_again(dump_call(function)) == 2


def test_keyword_arguments_travel() -> None:
    assert call_again(dump_call(dict, (), {"a": 1})) == {"a": 1}


SCRIPT = """
import json, sys
sys.path.insert(0, {folder!r})
from spoolmw.format.call import dump_call
import mine, minepack.inner

LIMIT = 5
class Point:
    def __init__(self, x): self.x = x
    def twice(self): return mine.double(self.x)

def function(point, *, more):
    return [point.twice(), mine.LIMIT, minepack.inner.triple(more), LIMIT]

sys.stdout.buffer.write(dump_call(function, (Point(4),), {{"more": 5}}))
"""

ELSEWHERE = """
import pickle, sys
function, args, kwargs = pickle.loads(sys.stdin.buffer.read())
assert "mine" not in sys.modules
print(function(*args, **kwargs))
"""


def test_own_modules_beside_the_script_are_not_needed_elsewhere(tmp_path: Path) -> None:
    beside, elsewhere = tmp_path / "beside", tmp_path / "elsewhere"
    (beside / "minepack").mkdir(parents=True)
    elsewhere.mkdir()
    (beside / "mine.py").write_text("import math\nLIMIT = 7\ndef double(x): return 2 * x\n")
    (beside / "minepack/__init__.py").write_text("")
    (beside / "minepack/inner.py").write_text(
        "from mine import double\ndef triple(x): return double(x) + x\n"
    )
    root = str(Path(__file__).parents[3])
    body = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(folder=str(beside))],
        env={"PYTHONPATH": root}, cwd=beside, stdout=subprocess.PIPE, check=True,
    ).stdout  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-I", "-c", ELSEWHERE],
        input=body, cwd=elsewhere, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    assert done.stdout == b"[8, 7, 15, 5]\n"


def test_installed_packages_and_the_standard_library_are_not_the_callers_own() -> None:
    for name in ("json", "math", "numpy", "pytest", "spoolmw.errors", "cloudpickle"):
        assert not is_own(name, sys.modules[name])
    assert is_own(__name__, sys.modules[__name__])


class Pretender:
    """As the libraries of cffi are in sys.modules: a module by its word only."""

    __slots__ = ()

    @property
    def __class__(self) -> type:
        return type(sys)


def test_what_only_pretends_to_be_a_module_is_nobodys_own() -> None:
    assert isinstance(Pretender(), type(sys))
    assert not is_own("pretender", Pretender())


def test_packages_travel_by_reference() -> None:
    assert len(dump_call(np.linalg.norm, (1,))) < 300


def test_what_changes_between_two_calls_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call_again(dump_call(own, (2,))) == 6
    monkeypatch.setitem(globals(), "FACTOR", 10)
    assert call_again(dump_call(own, (2,))) == 20


def failing(lock: object = None, *, other: object = None) -> None: ...


class Grumpy:
    def __reduce__(self) -> str:
        raise ValueError("I stay\nhere")


@pytest.mark.parametrize(
    ("args", "kwargs", "culprit"),
    [
        ((1, threading.Lock()), {}, "argument 2 of failing"),
        ((), {"other": threading.Lock()}, "argument other of failing"),
        ((Grumpy(),), {}, "argument 1 of failing"),
        (([sys.stdout],), {}, "argument 1 of failing"),
        (((x for x in [1]),), {}, "argument 1 of failing"),
    ],
)
def test_what_cannot_travel_is_named(
    args: tuple[Any, ...], kwargs: dict[str, Any], culprit: str
) -> None:
    with pytest.raises(NotPicklable) as caught:
        dump_call(failing, args, kwargs)
    assert isinstance(caught.value, SpoolmwError)
    assert caught.value.what == f"{culprit} cannot be sent to another process."
    assert caught.value.__cause__ is not None


def test_the_reason_says_why() -> None:
    with pytest.raises(NotPicklable, match=r"ValueError: I stay\\nhere"):
        dump_call(failing, (Grumpy(),))
    with pytest.raises(NotPicklable, match=r"_thread\.lock"):
        dump_call(failing, (threading.Lock(),))


def test_a_function_that_holds_something_unpicklable_is_named() -> None:
    lock = threading.Lock()
    with pytest.raises(NotPicklable, match=r"the function .*<lambda>"):
        dump_call(lambda: lock)


def test_a_structure_that_contains_itself_travels() -> None:
    value: list[Any] = []
    value.append(value)
    again = call_again(dump_call(lambda x: x, (value,)))
    assert again[0] is again


def test_a_value_too_deep_is_an_error_not_a_crash() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(NotPicklable, match="recursion"):
        dump_call(failing, (value,))
    while value:
        value = value.pop()


# Values


class Booby:
    """Says so when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("it was unpickled",))


def test_values_of_every_codec_are_read() -> None:
    assert load_value({}, b"", trusted=False) is None
    assert load_value({"codec": ""}, b"", trusted=True) is None
    assert load_value({"codec": "safe"}, safe.dumps((1, 2)), trusted=False) == (1, 2)
    assert load_value({"codec": "safe"}, memoryview(b"[1]"), trusted=True) == [1]
    assert load_value({"codec": "pickle"}, cloudpickle.dumps({1, 2}), trusted=True) == {1, 2}
    error = load_value(
        {"codec": "pickle-exception"}, memoryview(pickle.dumps(KeyError("k"))), trusted=True
    )
    assert isinstance(error, KeyError)


@pytest.mark.parametrize("codec", ["pickle", "pickle-exception"])
def test_a_pickle_from_an_untrusted_host_is_never_opened(codec: str) -> None:
    with pytest.raises(BadResultFile, match="not trusted"):
        load_value({"codec": codec}, pickle.dumps(Booby()), trusted=False)


@pytest.mark.parametrize("codec", ["marshal", "Pickle", 7, None, ["pickle"]])
def test_an_unknown_codec_is_an_error(codec: object) -> None:
    with pytest.raises(BadResultFile, match="codec"):
        load_value({"codec": codec}, pickle.dumps(Booby()), trusted=True)


@pytest.mark.parametrize(
    ("codec", "value"), [("safe", b"{"), ("pickle", b""), ("pickle", b"cno_such_module\nx\n.")]
)
def test_a_value_that_cannot_be_read_says_why(codec: str, value: bytes) -> None:
    with pytest.raises(BadResultFile) as caught:
        load_value({"codec": codec}, value, trusted=True)
    assert caught.value.why
