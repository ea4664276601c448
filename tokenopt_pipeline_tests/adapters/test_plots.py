"""A Pareto plot is a real PNG with a mark at every strategy."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tokenopt_pipeline.adapters.plots import PlotterMissing, Point, write_pareto
from tokenopt_pipeline.domain.errors import InvalidInput

_POINTS = [
    Point(name="always-small", usd=0.2, quality=0.7),
    Point(name="always-mid", usd=2.0, quality=0.9),
    Point(name="policy", usd=1.0, quality=0.88, low=0.85, high=0.91),
]
_LINE = [(0.2, 0.7), (2.0, 0.9)]


def _colours(path: Path) -> dict[tuple[int, ...], int]:
    with Image.open(path) as image:
        image.verify()
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", (1200, 800))
        found = image.convert("RGB").getcolors(maxcolors=1 << 20)
    assert found is not None
    return {colour: n for n, colour in found if isinstance(colour, tuple)}


def test_every_kind_of_point_is_drawn_in_its_colour(tmp_path: Path) -> None:
    write_pareto(tmp_path / "p.png", _POINTS, _LINE, title="some rows, recorded")
    colours = _colours(tmp_path / "p.png")
    # A dot of six pixels' radius covers more than a hundred.
    assert colours[40, 90, 170] > 200
    assert colours[200, 40, 60] > 100


def test_a_single_point_has_room_around_it(tmp_path: Path) -> None:
    write_pareto(tmp_path / "p.png", _POINTS[:1], _LINE[:1], title="one")
    assert _colours(tmp_path / "p.png")[40, 90, 170] > 100


def test_the_same_points_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_pareto(tmp_path / name, _POINTS, _LINE, title="t")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no-folder/p\.png cannot be written"):
        write_pareto(tmp_path / "no-folder" / "p.png", _POINTS, _LINE, title="t")


def test_without_pillow_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def without_pillow(name: str, *rest: Any, **more: Any) -> Any:
        if name == "PIL":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_pillow)
    with pytest.raises(PlotterMissing, match=r"tokenopt_pipeline\[plots\]"):
        write_pareto(tmp_path / "p.png", _POINTS, _LINE, title="t")
