"""Builds that are broken on purpose: `sitecustomize` modules that change the product in the processes of cells."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tokenopt_pipeline.measuring.cell_processes import cell_processes
from tokenopt_pipeline.measuring.stand import Stand

#: Answers of a pack reach the next block.
ANSWERS_GO_ASTRAY = """
import dataclasses
from tokenopt_pipeline.stages import settle
right = settle.decode_answer
def astray(*args, **kwargs):
    answer = right(*args, **kwargs)
    outputs = list(answer.outputs)
    return dataclasses.replace(answer, outputs=tuple(outputs[1:] + outputs[:1]))
settle.decode_answer = astray
"""

#: Every block is taken for a heading of one word, which nobody has to read.
SKIPS_TOO_MUCH = """
import dataclasses
from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.stages import prepare
right = prepare.decide
prepare.decide = lambda rules, facts: right(rules, dataclasses.replace(facts, type=BlockType.HEADING, words=1))
"""

#: Packs hold one block, whatever the policy says.
PACKS_OF_ONE = """
from tokenopt_pipeline.stages import prepare
right = prepare.pack_limits
prepare.pack_limits = lambda *args, **kwargs: right(*args, **{**kwargs, "max_blocks": 1})
"""


@contextmanager
def broken_build(stand: Stand, folder: Path, code: str) -> Iterator[Stand]:
    """The stand with cells that run the product as `code` changes it."""
    (folder / "sitecustomize.py").write_text(code)
    path = f"{folder}{os.pathsep}{stand.environment['PYTHONPATH']}"
    with cell_processes(folder, {**stand.environment, "PYTHONPATH": path}) as cells:
        yield replace(stand, cells=cells)
