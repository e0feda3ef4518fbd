"""`runner/` goes to bare hosts: clean for Python 3.9, needing only itself and cloudpickle."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys

import pytest

from tests.layers.source import ROOT, Module, imports, modules

OLDEST = (3, 9)
RUNNER = [module for module in modules() if module.layer == "runner"]
#: What of `spoolmw` itself a task may import on a bare host.
FACE = [module for module in modules() if module.name in ("spoolmw", "spoolmw.checkpoint")]

#: What the standard library got after Python 3.9, as far as one might reach for it.
TOO_NEW_MODULES = {"tomllib"}
TOO_NEW_NAMES = {
    *("itertools.pairwise", "itertools.batched", "contextlib.chdir"),
    *("sys.orig_argv", "sys.stdlib_module_names", "time.sleep_until", "asyncio.TaskGroup"),
    *("enum.StrEnum", "hashlib.file_digest", "datetime.UTC", "inspect.get_annotations"),
    *(
        "typing.Self",
        "typing.TypeAlias",
        "typing.ParamSpec",
        "types.UnionType",
        "types.NoneType",
    ),
    *("typing.assert_never", "typing.override", "math.cbrt", "math.exp2", "sys.exception"),
    *("operator.call", "os.EFD_CLOEXEC", "os.eventfd", "os.splice", "os.setns", "os.unshare"),
    *("logging.getLevelNamesMapping", "os.login_tty"),
}
TOO_NEW_KEYWORDS = {
    ("dataclass", "slots"),
    ("dataclass", "kw_only"),
    ("field", "kw_only"),
    ("zip", "strict"),
    ("bit_count", ""),
    ("Popen", "process_group"),
    ("TemporaryDirectory", "delete"),
    ("rmtree", "onexc"),
    ("print_exception", "file_only"),
}
TOO_NEW_BUILTINS = {"aiter", "anext", "ExceptionGroup", "BaseExceptionGroup", "EncodingWarning"}


def by_name(module: Module) -> str:
    return module.name


@pytest.mark.parametrize("module", RUNNER + FACE, ids=by_name)
def test_it_parses_as_python_3_9(module: Module) -> None:
    tree = ast.parse(module.text, str(module.path), feature_version=OLDEST)
    newer = (ast.Match, getattr(ast, "TryStar", ast.Match))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, newer)]


@pytest.mark.parametrize("module", RUNNER + FACE, ids=by_name)
def test_annotations_are_never_evaluated(module: Module) -> None:
    """`int | None` in an annotation is fine on 3.9 as long as nobody evaluates it."""
    if any(isinstance(node, ast.AnnAssign | ast.FunctionDef) for node in ast.walk(module.tree)):
        assert "from __future__ import annotations" in module.text


@pytest.mark.parametrize("module", RUNNER, ids=by_name)
def test_it_imports_only_itself_the_standard_library_and_cloudpickle(module: Module) -> None:
    for name in imports(module):
        top = name.split(".")[0]
        own = name == "spoolmw" or name.startswith("spoolmw.runner")
        assert own or top in {"cloudpickle", "__future__"} | sys.stdlib_module_names, name
        assert top not in TOO_NEW_MODULES


@pytest.mark.parametrize("module", RUNNER + FACE, ids=by_name)
def test_it_uses_no_name_that_python_3_9_lacks(module: Module) -> None:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert f"{node.value.id}.{node.attr}" not in TOO_NEW_NAMES, node.lineno
        if isinstance(node, ast.ImportFrom):
            found = {f"{node.module}.{alias.name}" for alias in node.names}
            assert not found & TOO_NEW_NAMES, node.lineno
        if isinstance(node, ast.Name):
            assert node.id not in TOO_NEW_BUILTINS, node.lineno
        if isinstance(node, ast.Call):
            assert not _keywords(node) & TOO_NEW_KEYWORDS, node.lineno


def _keywords(call: ast.Call) -> set[tuple[str, str]]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    name = call.func.id if isinstance(call.func, ast.Name) else name
    return {(name, keyword.arg or "**") for keyword in call.keywords} | {(name, "")}


@pytest.mark.parametrize("module", RUNNER, ids=by_name)
def test_no_type_union_is_made_while_it_runs(module: Module) -> None:
    """`isinstance(x, int | str)` and `Alias = int | str` fail on 3.9."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isinstance":
            assert not isinstance(node.args[1], ast.BinOp), node.lineno
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp):
            sides = (node.value.left, node.value.right)
            types = [
                s for s in sides if getattr(s, "id", "") in {"int", "str", "bytes", "float"}
            ]
            assert not (isinstance(node.value.op, ast.BitOr) and types), node.lineno


def test_a_real_python_3_9_compiles_it() -> None:
    old = shutil.which("python3.9") or ""
    if not old or subprocess.run([old, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip("no python3.9 here; the syntax trees above have to do")
    files = [str(module.path) for module in RUNNER + FACE]
    program = "import sys\nfor f in sys.argv[1:]: compile(open(f).read(), f, 'exec')"
    done = subprocess.run(
        [old, "-c", program, *files], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
