"""SQL lives in files, one statement each; this reads them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import LiteralString


@cache
def statement(name: str) -> LiteralString:
    """The text of `sql/<name>.sql`, which is ours and therefore trusted."""
    return files(__package__).joinpath("sql", f"{name}.sql").read_text("utf-8")
