"""Plots as PNG, drawn with Pillow, which is an optional extra of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tokenopt_pipeline.domain.errors import InvalidInput, TransientError

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 1200, 800, 120, 60, 80, 110
_INK, _FAINT, _LINE = (32, 32, 36), (214, 216, 220), (150, 152, 158)
_COLOURS = {"policy": (200, 40, 60), "oracle": (40, 130, 70), "perfect-check": (90, 160, 110)}
_PLAIN = (40, 90, 170)


class PlotterMissing(TransientError):
    """Pillow is not installed; the same command succeeds once it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One strategy."""

    name: str
    #: Dollars per 1,000 blocks; above zero, because the axis is logarithmic.
    usd: float
    #: 0 to 1.
    quality: float
    #: Bounds of the quality, where they are known.
    low: float | None = None
    high: float | None = None


def write_pareto(
    path: Path | BinaryIO, points: Sequence[Point], mixtures: Sequence[tuple[float, float]], *, title: str
) -> None:
    """Quality over dollars (logarithmic) of every strategy, as PNG; `mixtures` is the line of blind mixtures of tiers,
    left out when it is empty.

    Raises InvalidInput when the file cannot be written, PlotterMissing without Pillow.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as problem:
        raise PlotterMissing("plots need Pillow: pip install 'tokenopt_pipeline[plots]'") from problem
    image = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    small, large = ImageFont.load_default(18), ImageFont.load_default(24)
    scale = _Scale(points)
    draw.text((_LEFT, 24), title, fill=_INK, font=large)
    for quality in scale.quality_ticks():
        y = scale.y(quality)
        draw.line([(_LEFT, y), (_WIDTH - _RIGHT, y)], fill=_FAINT)
        draw.text((_LEFT - 12, y), f"{quality:.0%}", fill=_INK, font=small, anchor="rm")
    for usd in scale.usd_ticks():
        x = scale.x(usd)
        draw.line([(x, _TOP), (x, _HEIGHT - _BOTTOM)], fill=_FAINT)
        draw.text((x, _HEIGHT - _BOTTOM + 12), f"${usd:g}", fill=_INK, font=small, anchor="mt")
    draw.text((_WIDTH / 2, _HEIGHT - 36), "dollars per 1,000 blocks, logarithmic", fill=_INK, font=small, anchor="mm")
    draw.text((16, _TOP - 30), "quality", fill=_INK, font=small)
    line = [(scale.x(usd), scale.y(quality)) for usd, quality in mixtures]
    if line:
        draw.line(line, fill=_LINE, width=2)
        draw.text(line[len(line) // 2], "  random mixture of tiers", fill=_LINE, font=small)
    for point in points:
        x, y = scale.x(point.usd), scale.y(point.quality)
        colour = _COLOURS.get(point.name, _PLAIN)
        if point.low is not None and point.high is not None:
            draw.line([(x, scale.y(point.low)), (x, scale.y(point.high))], fill=colour, width=2)
        draw.ellipse([(x - 6, y - 6), (x + 6, y + 6)], fill=colour)
        draw.text((x + 11, y - 12), point.name, fill=colour, font=small)
    try:
        image.save(path, "PNG")
    except OSError as problem:
        raise InvalidInput(f"{path} cannot be written: {problem.strerror or problem}") from problem


class _Scale:
    """From dollars and quality to pixels, with some room around the points."""

    def __init__(self, points: Sequence[Point]) -> None:
        logs = [math.log10(p.usd) for p in points]
        self._first, self._last = min(logs) - 0.15, max(logs) + 0.35
        qualities = [q for p in points for q in (p.quality, p.low, p.high) if q is not None]
        room = max(max(qualities) - min(qualities), 0.02) * 0.1
        self._lowest, self._highest = max(min(qualities) - room, 0.0), min(max(qualities) + room, 1.0)

    def x(self, usd: float) -> float:
        share = (math.log10(usd) - self._first) / (self._last - self._first)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, quality: float) -> float:
        share = (quality - self._lowest) / (self._highest - self._lowest)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def quality_ticks(self) -> list[float]:
        step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2) if (self._highest - self._lowest) / s <= 10)
        return [n * step for n in range(math.ceil(self._lowest / step), int(self._highest / step) + 1)]

    def usd_ticks(self) -> list[float]:
        exponents = range(math.floor(self._first), math.ceil(self._last) + 1)
        ticks = [m * 10.0**e for e in exponents for m in (1, 2, 5)]
        return [t for t in ticks if self._first <= math.log10(t) <= self._last]
