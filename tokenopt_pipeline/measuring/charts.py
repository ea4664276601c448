"""Charts of a comparison as PNG: the cost ladder, quality over cost, growth with blocks, and history across nights."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tokenopt_pipeline.adapters.plots import PlotterMissing, Point, write_pareto
from tokenopt_pipeline.domain.measurements import BASELINE, Row
from tokenopt_pipeline.measuring.comparison import dollars, percent

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

_WIDTH, _LEFT, _RIGHT, _TOP, _BAR = 1200, 330, 230, 80, 34
_HEIGHT, _BOTTOM = 640, 90
_INK, _FAINT = (32, 32, 36), (214, 216, 220)
_COLOURS = ((40, 90, 170), (200, 40, 60), (40, 130, 70), (150, 90, 20), (110, 60, 150), (20, 130, 140), (90, 90, 90))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A named line over numbers."""

    name: str
    points: Sequence[tuple[float, float]]


def cost_ladder(rows: Sequence[Row], workload: str) -> bytes | None:
    """Dollars of every scenario on a workload, dearest first; None when nothing has a price."""
    blocks = max((r.blocks for r in rows if r.workload == workload and r.usd is not None), default=0)
    bars = [
        (
            r.scenario if r.cache == "cold" else f"{r.scenario}, warm",
            r.usd,
            f"{dollars(r.usd)}  {percent(r.saved)} saved",
        )
        for r in rows
        if r.workload == workload and r.blocks == blocks and r.usd
    ]
    if not bars:
        return None
    bars.sort(key=lambda bar: (-(bar[1] or 0), bar[0]))
    image, draw = _canvas(
        _TOP + _BAR * len(bars) + 30, f"Dollars for {blocks} blocks of {workload}, {_kinds(rows, workload)}"
    )
    scale = (_WIDTH - _LEFT - _RIGHT) / (bars[0][1] or 1)
    for i, (name, usd, said) in enumerate(bars):
        y = _TOP + i * _BAR
        end = _LEFT + max((usd or 0) * scale, 1)
        draw.text((_LEFT - 10, y + _BAR / 2 - 4), name, fill=_INK, font=_font(15), anchor="rm")
        draw.rectangle([(_LEFT, y), (end, y + _BAR - 8)], fill=_COLOURS[0] if name != BASELINE else _COLOURS[1])
        draw.text((end + 8, y + _BAR / 2 - 4), said, fill=_INK, font=_font(15), anchor="lm")
    return _png(image)


def pareto(rows: Sequence[Row], workload: str) -> bytes | None:
    """Agreement with the baseline over dollars per 1,000 blocks, with its interval; None with fewer than two points."""
    points = [
        Point(
            name=r.scenario,
            usd=r.usd / r.blocks * 1000,
            quality=1 + r.quality_change,
            low=None if r.quality_low is None else 1 + r.quality_low,
            high=None if r.quality_high is None else min(1 + r.quality_high, 1.0),
        )
        for r in rows
        if r.workload == workload and r.cache == "cold" and r.usd and r.quality_change is not None
    ]
    if len({point.usd for point in points}) < 2:
        return None
    # One point for scenarios that cost and answer the same: names would lie over one another.
    same: dict[tuple[float, float], list[Point]] = {}
    for point in points:
        same.setdefault((round(point.usd, 6), round(point.quality, 6)), []).append(point)
    shown = [
        replace(group[0], name=", ".join(p.name for p in group[:2]) + (" …" if len(group) > 2 else ""))
        for group in same.values()
    ]
    stream = io.BytesIO()
    write_pareto(
        stream, shown, [], title=f"Agreement with the baseline over cost, {workload}, {_kinds(rows, workload)}"
    )
    return stream.getvalue()


def growth(rows: Sequence[Row], workload: str) -> bytes | None:
    """Dollars over the number of blocks; None without a scenario measured at two counts."""
    lines = []
    for scenario in dict.fromkeys(r.scenario for r in rows):
        points = [
            (float(r.blocks), r.usd)
            for r in rows
            if r.workload == workload and r.scenario == scenario and r.cache == "cold" and r.usd is not None
        ]
        if len(points) > 1:
            lines.append(Line(name=scenario, points=sorted(points)))
    title = f"Dollars over blocks of {workload}, {_kinds(rows, workload)}"
    return line_chart(lines, title=title, x="blocks", y="usd") if lines else None


def history(nights: Mapping[str, Sequence[float]], *, title: str) -> bytes | None:
    """A number of several scenarios over nights, oldest first; None before the second night."""
    lines = [
        Line(name=name, points=[(float(n), value) for n, value in enumerate(values, start=1)])
        for name, values in sorted(nights.items())
        if len(values) > 1
    ]
    return line_chart(lines, title=title, x="night", y="usd") if lines else None


def line_chart(lines: Sequence[Line], *, title: str, x: str, y: str) -> bytes:
    """Lines from zero, each named at its end."""
    image, draw = _canvas(_HEIGHT, title)
    left, right = 110, _WIDTH - 260
    points = [point for line in lines for point in line.points]
    low, high, top = min(p[0] for p in points), max(p[0] for p in points), max(p[1] for p in points) or 1.0

    def at(point: tuple[float, float]) -> tuple[float, float]:
        across = (point[0] - low) / ((high - low) or 1)
        return left + across * (right - left), _HEIGHT - _BOTTOM - point[1] / top * (_HEIGHT - _BOTTOM - _TOP)

    for n in range(6):
        level = at((low, top * n / 5))
        draw.line([level, (right, level[1])], fill=_FAINT)
        draw.text((left - 10, level[1]), f"{top * n / 5:.3g}", fill=_INK, font=_font(15), anchor="rm")
    for value in sorted({p[0] for p in points}):
        draw.text((at((value, 0))[0], _HEIGHT - _BOTTOM + 12), f"{value:g}", fill=_INK, font=_font(15), anchor="mt")
    draw.text((left, _TOP - 28), y, fill=_INK, font=_font(15))
    draw.text((right, _HEIGHT - 40), x, fill=_INK, font=_font(15), anchor="rm")
    for (line, label_y), colour in zip(_labelled(lines, at), _cycle(len(lines)), strict=True):
        drawn = [at(point) for point in line.points]
        draw.line(drawn, fill=colour, width=3)
        for px, py in drawn:
            draw.ellipse([(px - 4, py - 4), (px + 4, py + 4)], fill=colour)
        draw.text((right + 14, label_y), line.name, fill=colour, font=_font(15), anchor="lm")
    return _png(image)


def _labelled(
    lines: Sequence[Line], at: Callable[[tuple[float, float]], tuple[float, float]]
) -> Iterator[tuple[Line, float]]:
    """Lines with the height of their names, moved apart where they would lie over one another."""
    ends = sorted(((at(line.points[-1])[1], n) for n, line in enumerate(lines)), key=lambda end: end)
    heights: dict[int, float] = {}
    last = 0.0
    for end, n in ends:
        last = heights[n] = max(end, last + 18)
    for n, line in enumerate(lines):
        yield line, heights[n]


def _kinds(rows: Sequence[Row], workload: str) -> str:
    return ", ".join(sorted({r.kind for r in rows if r.workload == workload}))


def _cycle(n: int) -> list[tuple[int, int, int]]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(n)]


def _canvas(height: int, title: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    try:
        from PIL import Image, ImageDraw
    except ImportError as problem:
        raise PlotterMissing("plots need Pillow: pip install 'tokenopt_pipeline[plots]'") from problem
    image = Image.new("RGB", (_WIDTH, height), "white")
    draw = ImageDraw.Draw(image)
    draw.text((30, 24), title, fill=_INK, font=_font(22))
    return image, draw


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()
