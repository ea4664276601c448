"""The walls of the house that import-linter does not hold."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import tokenopt_pipeline.domain

_DOMAIN = Path(tokenopt_pipeline.domain.__file__ or "").parent
_PRODUCT = _DOMAIN.parent
_TESTS = Path(__file__).parent
_MODULES = sorted(path for path in _DOMAIN.glob("*.py") if path.name != "__init__.py")

_MOST_LINES = 350
# What the domain is handed as an argument, or does without.
_OUTSIDE_MODULES = {
    "os",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "uuid",
    "pathlib",
}
_OUTSIDE_NAMES = {
    "now",
    "utcnow",
    "today",
    "environ",
    "getenv",
    "uuid1",
    "uuid4",
    "urandom",
    "monotonic",
    "perf_counter",
}
_OUTSIDE_CALLS = {"open", "input", "print", "exec", "eval", "__import__"}


def _imported(path: Path) -> set[str]:
    """Every module the file imports, dotted."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
    return names


def _reads_from_outside(source: str) -> list[str]:
    """What in the source reaches for a clock, an id, chance, the environment or a file."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in _OUTSIDE_NAMES:
            found.append(node.attr)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _OUTSIDE_CALLS:
            found.append(node.func.id)
        elif isinstance(node, ast.ImportFrom):
            found += [alias.name for alias in node.names if alias.name in _OUTSIDE_NAMES]
            found += [node.module] if node.module in _OUTSIDE_MODULES else []
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in _OUTSIDE_MODULES]
    return found


@pytest.mark.parametrize("path", _MODULES, ids=lambda path: path.stem)
def test_the_domain_imports_only_the_standard_library_and_itself(path: Path) -> None:
    for name in _imported(path):
        assert name.startswith("tokenopt_pipeline.domain.") or name.split(".")[0] in sys.stdlib_module_names


@pytest.mark.parametrize("path", _MODULES, ids=lambda path: path.stem)
def test_the_domain_reads_no_clock_no_chance_no_environment_and_no_file(path: Path) -> None:
    assert _reads_from_outside(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import datetime\ndatetime.datetime.now()",
        "from time import monotonic",
        "import time",
        "from uuid import uuid4",
        "import random as r",
        "import os.path",
        "open('f')",
        "clock.perf_counter()",
    ],
)
def test_reading_from_outside_would_be_seen(source: str) -> None:
    assert _reads_from_outside(source)


@pytest.mark.parametrize("path", _MODULES, ids=lambda path: path.stem)
def test_every_domain_module_has_a_mirrored_test(path: Path) -> None:
    assert (_TESTS / "domain" / f"test_{path.name}").is_file()


def test_every_domain_test_mirrors_a_module() -> None:
    tested = {path.stem.removeprefix("test_") for path in (_TESTS / "domain").glob("test_*.py")}
    assert tested == {path.stem for path in _MODULES}


def test_no_file_is_too_long_to_read() -> None:
    lengths = {
        str(path.relative_to(_PRODUCT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in _PRODUCT.rglob("*.py")
    }
    assert {name: n for name, n in lengths.items() if n > _MOST_LINES} == {}


@pytest.mark.parametrize("path", _MODULES, ids=lambda path: path.stem)
def test_every_domain_module_says_in_its_docstring_what_lives_there(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
