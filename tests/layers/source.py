"""What the layer tests know about the source: modules, their imports, and their functions.

Read off the syntax trees alone; nothing of the package is imported.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "spoolmw"

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name, its path and its text."""

    name: str
    path: Path
    text: str

    @property
    def layer(self) -> str:
        """The folder or module right below the package; "" for the package's face."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else ""

    @property
    def tree(self) -> ast.Module:
        return _parse(self.path)

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the package, by name."""
    return tuple(
        Module(_dotted(path), path, path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))
    )


@cache
def names() -> frozenset[str]:
    return frozenset(module.name for module in modules())


def _own(target: str) -> str:
    """The module that an import of `target` really loads: `target` itself or what holds it."""
    return target if target in names() else target.rpartition(".")[0]


def imports(module: Module, *, typing_too: bool = True) -> Iterator[str]:
    """What `module` imports, in full names; an imported attribute stands for its module.

    With `typing_too=False`, what stands under `if TYPE_CHECKING:` is left out.
    """
    hidden = set() if typing_too else _only_for_types(module.tree)
    for node in ast.walk(module.tree):
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = _source(module, node)
            for alias in node.names:
                own = source.split(".")[0] == "spoolmw"
                yield _own(f"{source}.{alias.name}") if own else source


def _source(module: Module, node: ast.ImportFrom) -> str:
    """The module that a `from ... import` names; `runner` travels, and imports relatively."""
    if not node.level:
        return node.module or ""
    parts = module.name.split(".")
    package = parts if module.is_package else parts[:-1]
    above = package[: len(package) - node.level + 1]
    return ".".join([*above, node.module] if node.module else above)


def _only_for_types(tree: ast.Module) -> set[ast.AST]:
    hidden: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            hidden.update(child for part in node.body for child in ast.walk(part))
    return hidden


def own_imports(module: Module) -> set[str]:
    """The modules of the package that `module` imports.

    The package's face is lazy: what it imports for type checkers alone does not count.
    """
    found = imports(module, typing_too=module.name != "spoolmw")
    return {name for name in found if name.split(".")[0] == "spoolmw"} - {module.name}


def third_party(module: Module) -> set[str]:
    """What `module` imports that is neither of the standard library nor ours, top names."""
    tops = {name.split(".")[0] for name in imports(module)}
    return tops - sys.stdlib_module_names - {"spoolmw", "__future__"}


def functions(module: Module) -> Iterator[FunctionNode]:
    for node in ast.walk(module.tree):
        if isinstance(node, FunctionNode):
            yield node


def lines_of(node: FunctionNode) -> int:
    """The length of a function, its decorators and its docstring not counted."""
    assert node.end_lineno is not None
    total = node.end_lineno - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node) is not None and first.end_lineno is not None:
        total -= first.end_lineno - first.lineno + 1
    return total
