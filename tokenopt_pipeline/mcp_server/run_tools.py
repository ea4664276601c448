"""The tools of a run: what each takes, what it gives, and how it reads the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tokenopt_pipeline.domain.bridge_policy import SEARCH_TOOL
from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.run_views import (
    MOST_BLOCKS,
    MOST_RULES,
    BlockOutcome,
    bounded_blocks,
    bounded_outcome,
    bounded_rules,
    no_index,
    schema_for_type,
)
from tokenopt_pipeline.ports import RuleSearch, RunReading


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Query(_Strict):
    query: Annotated[str, Field(min_length=1, max_length=2_000, description="what the rule is about, in a few words")]


class Rule(_Strict):
    rule_id: str
    reference: str
    text: str
    score: float


class Rules(_Strict):
    rules: list[Rule]
    message: Annotated[str, Field(description="why nothing was found; empty otherwise")]


class Span(_Strict):
    start: Annotated[int, Field(ge=0, le=2_147_483_647, description="the first block's place in the run, from 0")]
    count: Annotated[int, Field(ge=1, le=MOST_BLOCKS)]


class Block(_Strict):
    block_uid: str
    ordinal: int
    type: str
    text: str
    is_cut: Annotated[bool, Field(description="whether the text goes on")]


class Blocks(_Strict):
    blocks: list[Block]
    n_blocks: Annotated[int, Field(description="of the whole run")]
    next_start: Annotated[int | None, Field(description="where to go on; null: there are no more")]


def _block_type(name: str) -> str:
    if name not in tuple(BlockType):
        raise ValueError(f"{name[:100]!r} is not a block type")
    return name


class Type(_Strict):
    # Not the enum itself: its schema would be a reference, which not every model's dialect takes.
    type: Annotated[str, Field(json_schema_extra={"enum": list(map(str, BlockType))}), AfterValidator(_block_type)]


class Schema(_Strict):
    applies: Annotated[bool, Field(description="whether blocks of this type are asked about at all")]
    reason: str
    answer_schema: dict[str, Any]


class Uid(_Strict):
    block_uid: Annotated[str, Field(max_length=100, description="<document id>:<index>, as get_block_batch gives it")]


class Result(_Strict):
    block_uid: str
    ordinal: int
    status: str
    values: dict[str, Any] | None
    is_cut: Annotated[bool, Field(description="whether there are values that are too long to be told")]


class Results(_Strict):
    found: Annotated[bool, Field(description="whether the block is in this run")]
    block: Result | None
    preceding: Annotated[
        list[Result], Field(description="answered blocks before it in its document, the nearest first")
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTool:
    name: str
    description: str
    takes: type[BaseModel]
    gives: type[BaseModel]
    run: Callable[[Any], BaseModel]


def run_tools(reading: RunReading, rules: RuleSearch | None) -> tuple[RunTool, ...]:
    """The four tools of a run. Without `rules`, searches find nothing and say why."""

    def search_style_rules(asked: Query) -> Rules:
        run = reading.run
        found = no_index(run.schema) if rules is None else rules.search(run, asked.query, limit=MOST_RULES)
        bounded = bounded_rules(found)
        return Rules(
            rules=[Rule(rule_id=r.rule_id, reference=r.reference, text=r.text, score=r.score) for r in bounded.rules],
            message=bounded.message,
        )

    def get_block_batch(asked: Span) -> Blocks:
        # One more than can be shown tells whether there are more.
        found = reading.blocks(start=asked.start, count=asked.count + 1)
        shown = bounded_blocks(found[: asked.count])
        return Blocks(
            blocks=[
                Block(block_uid=b.uid, ordinal=b.ordinal, type=b.type, text=b.text, is_cut=b.is_cut) for b in shown
            ],
            n_blocks=reading.run.n_blocks,
            next_start=shown[-1].ordinal + 1 if len(shown) < len(found) else None,
        )

    def get_schema_for_block_type(asked: Type) -> Schema:
        found = schema_for_type(reading.run.schema, BlockType(asked.type))
        return Schema(applies=found.applies, reason=found.reason, answer_schema=dict(found.answer_schema))

    def lookup_previous_results(asked: Uid) -> Results:
        results = [_result(bounded_outcome(outcome)) for outcome in reading.outcomes(asked.block_uid)]
        return Results(found=bool(results), block=results[0] if results else None, preceding=results[1:])

    return (
        RunTool(
            name=SEARCH_TOOL,
            description="Finds the rules of the run's references that are about something.",
            takes=Query,
            gives=Rules,
            run=search_style_rules,
        ),
        RunTool(
            name="get_block_batch",
            description=f"Reads blocks of the run in document order, at most {MOST_BLOCKS} and 64 kB at a time.",
            takes=Span,
            gives=Blocks,
            run=get_block_batch,
        ),
        RunTool(
            name="get_schema_for_block_type",
            description="Tells which fields the run extracts from blocks of a type.",
            takes=Type,
            gives=Schema,
            run=get_schema_for_block_type,
        ),
        RunTool(
            name="lookup_previous_results",
            description="Tells what was extracted from a block in this run so far, and from the blocks before it.",
            takes=Uid,
            gives=Results,
            run=lookup_previous_results,
        ),
    )


def _result(outcome: BlockOutcome) -> Result:
    return Result(
        block_uid=outcome.uid,
        ordinal=outcome.ordinal,
        status=outcome.status,
        values=None if outcome.values is None else dict(outcome.values),
        is_cut=outcome.is_cut,
    )
