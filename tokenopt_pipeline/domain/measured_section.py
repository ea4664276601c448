"""The measured table of a policy's routing section, as `tokenopt route fit` writes it, checked key by key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.errors import PolicyInvalid
from tokenopt_pipeline.domain.measured import MeasuredCheck, MeasuredRates, MeasuredTask, TierRate
from tokenopt_pipeline.domain.tiers import TIERS

_BOUNDS = ("min_complexity", "max_complexity")
_CHECK_SHARES = ("doubted", "wrong_doubted", "wrong_undoubted", "next_wrong_doubted")


def parse_measured(value: object, where: Callable[[str], str]) -> MeasuredRates | None:
    """The table; None when there is none. `where` names the place of a key under `routing`.

    Raises PolicyInvalid.
    """
    if value is None:
        return None
    table = _mapping(value, where("measured"), ("source", "models", "tasks"))
    source, models, tasks = table.get("source"), table.get("models"), table.get("tasks")
    if not isinstance(source, str) or not source:
        raise PolicyInvalid(f"{where('measured.source')} must be a sentence")
    if not isinstance(models, Mapping) or any(t not in TIERS or not isinstance(m, str) for t, m in models.items()):
        raise PolicyInvalid(f"{where('measured.models')} = {models!r}, allowed a mapping from tiers to model names")
    if not isinstance(tasks, list | tuple):
        raise PolicyInvalid(f"{where('measured.tasks')} must be a list")
    rows = tuple(_task(row, partial(_below, where, f"measured.tasks[{i}]")) for i, row in enumerate(tasks))
    return MeasuredRates(source=source, models={str(t): str(m) for t, m in models.items()}, tasks=rows)


def _below(where: Callable[[str], str], path: str, key: str) -> str:
    return where(path + key)


def _task(value: object, where: Callable[[str], str]) -> MeasuredTask:
    row = _mapping(value, where(""), ("task", "block_type", *_BOUNDS, "n", "tiers", "check"))
    task, block_type, tiers = row.get("task"), row.get("block_type"), row.get("tiers")
    if not isinstance(task, str) or not task:
        raise PolicyInvalid(f"{where('.task')} = {task!r}, allowed a name")
    if block_type is not None and block_type not in tuple(BlockType):
        raise PolicyInvalid(f"{where('.block_type')} = {block_type!r}, allowed null or a block type")
    n = _whole(row.get("n"), where(".n"), 1)
    bounds = {bound: _whole(row[bound], where(f".{bound}"), 0) for bound in _BOUNDS if row.get(bound) is not None}
    if not isinstance(tiers, Mapping) or not tiers or any(tier not in TIERS for tier in tiers):
        raise PolicyInvalid(f"{where('.tiers')} must map tiers to what they did; tiers are {', '.join(TIERS)}")
    rates = {}
    for tier, given in tiers.items():
        rate = _mapping(given, where(f".tiers.{tier}"), ("quality", "usd"))
        rates[str(tier)] = TierRate(
            quality=_number(rate.get("quality"), where(f".tiers.{tier}.quality"), 1.0),
            usd=_number(rate.get("usd"), where(f".tiers.{tier}.usd"), 1e6),
        )
    check = None
    if row.get("check") is not None:
        shares = _mapping(row["check"], where(".check"), _CHECK_SHARES)
        check = MeasuredCheck(**{s: _number(shares.get(s), where(f".check.{s}"), 1.0) for s in _CHECK_SHARES})
    return MeasuredTask(
        task=task,
        block_type=None if block_type is None else str(block_type),
        n=n,
        tiers=rates,
        check=check,
        min_complexity=bounds.get("min_complexity"),
        max_complexity=bounds.get("max_complexity"),
    )


def _mapping(value: object, where: str, known: Sequence[str]) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise PolicyInvalid(f"{where} must be a mapping")
    if unknown := [key for key in value if key not in known]:
        raise PolicyInvalid(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(known)}")
    return value


def _whole(value: object, where: str, low: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise PolicyInvalid(f"{where} = {value!r}, allowed a whole number from {low}")
    return value


def _number(value: object, where: str, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= high:
        raise PolicyInvalid(f"{where} = {value!r}, allowed a number from 0 to {high:g}")
    return float(value)
