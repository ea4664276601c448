"""Places: which layer and line of a policy set a key, so that a refusal points at what must be changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_LAST_STEP = re.compile(r"(\.[^.\[\]]+|\[\d+\])$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the keys of a policy come from."""

    #: `section.key` -> the layer that set it, such as `policy p.yaml` or `--set a.b=c`.
    sources: Mapping[str, str] = field(default_factory=dict)
    #: Layer -> path -> line, counted from 1. Paths are `section.key`, with `[0]` for entries and `.name` for members.
    lines: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def of(self, path: str) -> str:
        """`layer:line: path` of a key that some layer set; `policy: path` when none is known to have."""
        key = path
        # Names that a person gives may hold dots, so the longest known key is the one.
        while key and key not in self.sources:
            key = _LAST_STEP.sub("", key) if _LAST_STEP.search(key) else ""
        layer = self.sources.get(key)
        return f"policy: {path}" if layer is None else f"{self.within(layer, path)}: {path}"

    def within(self, layer: str, path: str) -> str:
        """`layer:line` of a path in a layer, the nearest place above it when that has no line of its own."""
        lines = self.lines.get(layer, {})
        while path and path not in lines:
            path = _LAST_STEP.sub("", path) if _LAST_STEP.search(path) else ""
        return f"{layer}:{lines[path]}" if path else layer
