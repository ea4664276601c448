"""Runs whose models have tools: every turn is stored, nothing is asked twice, and the plain call follows what gives up."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from tokenopt_pipeline.adapters.json_schema import ToolSchemaValidators
from tokenopt_pipeline.adapters.mcp_client import McpHost
from tokenopt_pipeline.adapters.postgres.connection import connect
from tokenopt_pipeline.adapters.postgres.contexts import contexts_of_run
from tokenopt_pipeline.adapters.postgres.conversations import PostgresTurns, conversations_of_run
from tokenopt_pipeline.adapters.postgres.findings import PostgresFindings
from tokenopt_pipeline.adapters.postgres.runs import PostgresRuns
from tokenopt_pipeline.adapters.postgres.stories import PostgresStories
from tokenopt_pipeline.adapters.postgres.summaries import PostgresSummaries
from tokenopt_pipeline.cli.figures import summary_lines
from tokenopt_pipeline.cli.telling import story_lines
from tokenopt_pipeline.domain.bridge import StopCause
from tokenopt_pipeline.domain.bridge_policy import SEARCH_TOOL
from tokenopt_pipeline.domain.errors import (
    BudgetExceeded,
    FatalForRun,
    RateLimited,
    RequestRejected,
    RunCancelled,
    ToolServerUnavailable,
)
from tokenopt_pipeline.domain.probes import Calibration, Threshold
from tokenopt_pipeline.domain.requests import ModelRequest, ModelResponse, StopReason
from tokenopt_pipeline.domain.runs import Run, Shard
from tokenopt_pipeline.domain.tool_servers import ToolServer
from tokenopt_pipeline.domain.tools import ToolCall
from tokenopt_pipeline.domain.usage import TokenUsage
from tokenopt_pipeline.stages.contexts import know
from tokenopt_pipeline.stages.conversations import OpenTools
from tokenopt_pipeline.stages.line import Line
from tokenopt_pipeline_tests.factories import a_model, a_schema_document, a_tools_response
from tokenopt_pipeline_tests.stages.reference_rig import ReferenceRig
from tokenopt_pipeline_tests.stages.rig import OneSupply, Rig
from tokenopt_pipeline_tests.stages.scripted_provider import WordTokenizer
from tokenopt_pipeline_tests.tool_servers.faulty import TOOLS, faulty_server

_BRIDGE: dict[str, Any] = {"enabled": True, "servers": {"own": {"builtin": True, "tools": sorted(TOOLS)}}}
#: What happens instead of an answer; None: the model goes on as it would.
Trouble = Callable[[ModelRequest], BaseException | ModelResponse | None]


@dataclass(slots=True)
class Talker:
    """`ports.Provider` whose model calls `echo` in so many turns of every conversation before it answers."""

    rig: Rig
    turns: int = 2
    trouble: Trouble = lambda _: None
    asked: list[ModelRequest] = field(default_factory=list)

    def complete(self, request: ModelRequest, *, timeout_s: float) -> ModelResponse:
        self.asked.append(request)
        trouble = self.trouble(request)
        if isinstance(trouble, BaseException):
            raise trouble
        if trouble is not None:
            return trouble
        if request.tools and len(request.turns) < self.turns:
            nth = len(request.turns) + 1
            call = ToolCall(call_id=f"c{nth}", name="own__echo", arguments={"text": f"{nth} \x00\ud800"})
            response = a_tools_response(call, carry=json.dumps(["signed", nth]))
            usage = TokenUsage(input_uncached=2_000, output=20)
            return replace(response, request_id=f"turn-{nth}", usage=usage)
        return self.rig.provider.complete(replace(request, turns=()), timeout_s=timeout_s)

    @property
    def depths(self) -> list[int]:
        """Turns before each request, in the order they came; plain requests count as -1."""
        return [len(request.turns) if request.tools else -1 for request in self.asked]


@pytest.fixture(scope="module")
def host() -> Iterator[McpHost]:
    server = ToolServer(name="own", builtin=True, tools=tuple(TOOLS))
    with McpHost([server], environment={}, start_timeout_s=30, builtin=faulty_server()) as opened:
        yield opened


@dataclass(slots=True, kw_only=True)
class TalkingRig:
    rig: Rig
    host: McpHost
    url: str
    talker: Talker

    def line(self, talker: Talker | None = None) -> Line:
        """Another process."""
        line = self.rig.line(provider=talker or self.talker)
        line.open_tools = self._tools
        return line

    def _tools(self, run: Run) -> OpenTools:
        with ExitStack() as stack:
            turns = PostgresTurns(stack.enter_context(connect(self.url)))
            return OpenTools(
                host=self.host,
                schemas_of=ToolSchemaValidators,
                turns=turns,
                tokenizer=WordTokenizer(),
                close=stack.pop_all().close,
            )

    def plan(self, *, schema: Any = None, bridge: dict[str, Any] | None = None, **policy: Any) -> Run:
        return self.rig.plan(self.rig.request(schema=schema, bridge={**_BRIDGE, **(bridge or {})}, **policy))

    def finish(self, run: Run, line: Line | None = None) -> None:
        line = line or self.line()
        try:
            self.rig.finish(run, line=line)
        finally:
            line.close()

    def summary(self, run: Run) -> dict[str, Any]:
        return PostgresSummaries(self.rig.connection, tables=OneSupply(model=self.rig.model)).summary(run)

    def calls(self, run: Run) -> list[str]:
        found = self.rig.rows("select state from call where run_no = %(run)s order by call_no", run=run.run_no)
        return [r["state"] for r in found]


@pytest.fixture
def talking(rig: Rig, host: McpHost, database_url: str) -> TalkingRig:
    rig.model = a_model(cache_minimum_tokens=1)
    rig.ingest("The tenant pays rent.", "The landlord mends the roof.")
    return TalkingRig(rig=rig, host=host, url=database_url, talker=Talker(rig))


def test_every_turn_is_a_call_with_its_ledger_row_and_the_last_one_answers_the_pack(talking: TalkingRig) -> None:
    run = talking.plan()
    talking.finish(run)

    assert talking.talker.depths == [0, 1, 2]
    assert talking.calls(run) == ["continued", "continued", "answered"]
    ledger = talking.rig.rows("select * from ledger order by call_no")
    assert [row["fingerprint"] for row in ledger] == [request.fingerprint for request in talking.talker.asked]
    assert [row["pack_blocks"] for row in ledger] == [0, 0, 2]
    assert all(row["usd"] is not None and row["table_input"] is None for row in ledger)
    assert talking.rig.statuses(run) == {"ai_complete": 2}
    assert talking.rig.wrong(run) == []
    findings = PostgresFindings(talking.rig.connection)
    shard = Shard(run_no=run.run_no, shard_no=0)
    assert findings.ledger_equals_calls(run, shard).passed
    assert findings.every_block_has_one_outcome(run, shard).passed
    summary = talking.summary(run)
    told = {"conversations": 1, "going_on": 0, "turns": 2, "tool_calls": 2, "calls_made": 2, "gave_up": {}}
    assert summary["bridge"] == told
    assert (summary["calls"], summary["packs"], summary["violations"]) == (3, 1, 0)
    assert summary["usd"] == pytest.approx(float(sum((row["usd"] for row in ledger), Decimal(0))))
    assert "bridge      1 conversation of 2 turns; 2 tool calls, 2 made" in summary_lines(summary)


def test_the_story_of_a_block_tells_its_packs_turns(talking: TalkingRig) -> None:
    run = talking.plan()
    talking.finish(run)
    uid = talking.rig.one("select document_id || ':0' from document")
    told = list(story_lines(PostgresStories(talking.rig.connection).of_block(run, uid)))

    assert sum(line.startswith("call ") for line in told) == 3
    assert sum(line.startswith("tools       own__echo") for line in told) == 2


def test_a_process_that_dies_in_a_conversation_leaves_it_to_the_next_which_asks_one_request_again(
    talking: TalkingRig,
) -> None:
    class Killed(BaseException):
        pass

    run = talking.plan()
    talking.talker.turns = 3
    talking.talker.trouble = lambda request: Killed() if len(request.turns) == 2 else None
    with pytest.raises(Killed):
        talking.finish(run)
    assert talking.calls(run) == ["continued", "continued", "started"]

    after = Talker(talking.rig, turns=3)
    talking.finish(run, talking.line(after))

    assert after.depths == [2, 3]
    # What was said and told before is said and told again to the last byte.
    assert after.asked[0].fingerprint == talking.talker.asked[2].fingerprint
    assert talking.calls(run) == ["continued", "continued", "started", "continued", "answered"]
    assert talking.summary(run)["calls_without_stored_answer"] == 1
    assert talking.rig.wrong(run) == []


def test_a_process_that_dies_while_tools_are_called_calls_them_again_and_no_model(talking: TalkingRig) -> None:
    run = talking.plan()
    line = talking.line()
    opened = talking._tools(run)

    class Dying(McpHost):
        def __init__(self) -> None:
            self.tools = talking.host.tools  # type: ignore[method-assign]

        def call(self, *_: Any, **__: Any) -> Any:
            raise SystemExit

    line.open_tools = lambda run: replace(opened, host=Dying())
    with pytest.raises(SystemExit):
        talking.finish(run, line)
    assert talking.calls(run) == ["continued"]

    after = Talker(talking.rig)
    talking.finish(run, talking.line(after))
    assert after.depths == [1, 2]
    [result] = after.asked[0].turns[0].results
    assert json.loads(result.text)["result"].startswith("1 ")


def test_a_provider_that_is_away_for_a_moment_costs_one_try_and_no_turn(talking: TalkingRig) -> None:
    left = [RateLimited("slow down", retry_after_s=3)]
    talking.talker.trouble = lambda request: left.pop() if left and len(request.turns) == 1 else None
    run = talking.plan()
    talking.finish(run)

    assert talking.talker.depths == [0, 1, 1, 2]
    assert talking.calls(run) == ["continued", "failed", "continued", "answered"]


@pytest.mark.parametrize(
    ("bounds", "turns", "cause"),
    [
        ({"max_turns": 2}, 9, StopCause.TURNS),
        ({"max_tool_calls": 1}, 9, StopCause.TOOL_CALLS),
        ({"max_tokens": 5_000}, 9, StopCause.TOKENS),
        ({"max_usd": "0.0001"}, 9, StopCause.DOLLARS),
    ],
)
def test_at_every_bound_the_pack_is_asked_plainly_and_what_was_spent_is_in_the_ledger(
    talking: TalkingRig, bounds: dict[str, Any], turns: int, cause: StopCause
) -> None:
    talking.talker.turns = turns
    run = talking.plan(bridge=bounds)
    talking.finish(run)

    assert talking.talker.depths[-1] == -1
    assert talking.calls(run) == ["continued"] * (len(talking.talker.asked) - 1) + ["answered"]
    assert talking.summary(run)["bridge"]["gave_up"] == {cause.value: 1}
    assert talking.rig.wrong(run) == []
    uid = talking.rig.one("select document_id || ':0' from document")
    told = "\n".join(story_lines(PostgresStories(talking.rig.connection).of_block(run, uid)))
    assert f"asked plainly, {cause.value}: bridge {cause.value}" in told


def test_what_a_provider_refuses_with_tools_it_is_asked_without_them(talking: TalkingRig) -> None:
    talking.talker.trouble = lambda request: RequestRejected("400: no tools", status=400) if request.tools else None
    run = talking.plan()
    talking.finish(run)

    assert talking.talker.depths == [0, -1]
    assert talking.calls(run) == ["failed", "answered"]
    assert talking.summary(run)["bridge"]["gave_up"] == {"rejected": 1}
    assert talking.rig.one("select error_class from call where state = 'failed'") == "RequestRejected"


def test_what_is_asked_again_after_a_conversation_gave_up_is_asked_plainly_too(talking: TalkingRig) -> None:
    def trouble(request: ModelRequest) -> ModelResponse | None:
        plain = [each for each in talking.talker.asked if not each.tools]
        if request.tools or len(plain) > 1:
            return None
        return replace(a_tools_response(), stop=StopReason.COMPLETE, text="no JSON", tool_calls=())

    talking.talker.turns, talking.talker.trouble = 9, trouble
    run = talking.plan(bridge={"max_turns": 1})
    talking.finish(run)

    assert talking.talker.depths == [0, -1, -1, -1]
    assert talking.summary(run)["bridge"]["conversations"] == 1
    assert talking.rig.wrong(run) == []


def test_a_process_that_dies_after_giving_up_does_not_begin_another_conversation(talking: TalkingRig) -> None:
    class Killed(BaseException):
        pass

    talking.talker.turns, talking.talker.trouble = 9, lambda request: None if request.tools else Killed()
    run = talking.plan(bridge={"max_turns": 1})
    with pytest.raises(Killed):
        talking.finish(run)
    after = Talker(talking.rig)
    talking.finish(run, talking.line(after))
    assert after.depths == [-1]


def test_a_budget_covers_the_whole_conversation_before_it_begins(talking: TalkingRig) -> None:
    run = talking.plan(run={"budget_usd": "0.4"})
    with pytest.raises(BudgetExceeded):
        talking.finish(run)
    assert talking.talker.asked == []
    assert talking.rig.one("select count(*) from conversation") == 0

    # The bound of half a dollar and the plain call after it fit a dollar once, so packs wait for each other.
    talking.rig.ingest(*(f"Clause {n} says {n}." for n in range(4)), collection="more", name="more")
    tight = talking.rig.plan(
        talking.rig.request(collection="more", bridge=_BRIDGE, packing={"pack_size": 1}, run={"budget_usd": "1"})
    )
    talking.finish(tight)
    assert talking.rig.statuses(tight) == {"ai_complete": 4}
    depths = talking.talker.depths
    assert depths == [0, 1, 2] * 4


def test_a_cancelled_run_makes_no_further_turn(talking: TalkingRig) -> None:
    run = talking.plan()

    def cancel(request: ModelRequest) -> None:
        with connect(talking.url) as other:
            PostgresRuns(other).cancel(run.run_id, now=talking.rig.clock.now())

    talking.talker.trouble = cancel
    with pytest.raises(RunCancelled):
        talking.finish(run)
    assert talking.talker.depths == [0]
    assert talking.calls(run) == ["continued"]


def test_a_run_that_ends_early_stores_the_turn_in_flight_and_goes_on_from_there(talking: TalkingRig) -> None:
    talking.rig.ingest(*(f"Clause {n} says {n}." for n in range(2)), collection="more", name="more")
    run = talking.rig.plan(talking.rig.request(collection="more", bridge=_BRIDGE, packing={"pack_size": 1}))
    fatal = [FatalForRun("the account is closed")]

    def trouble(request: ModelRequest) -> FatalForRun | None:
        return fatal.pop() if fatal and "says 1" in request.user else None

    talking.talker.turns, talking.talker.trouble = 3, trouble
    with pytest.raises(FatalForRun):
        talking.finish(run)
    assert talking.calls(run).count("started") == 0
    talking.finish(run)
    assert talking.rig.wrong(run) == []
    assert talking.summary(run)["violations"] == 0
    # Two conversations of four requests, and the one that failed.
    assert len(talking.talker.asked) == 9


def test_servers_that_do_not_start_end_the_run_before_anything_is_spent(talking: TalkingRig) -> None:
    run, line = talking.plan(), talking.line()

    class Gone(McpHost):
        def __init__(self) -> None:
            pass

        def tools(self) -> Any:
            raise ToolServerUnavailable("own: no such command")

    opened = talking._tools(run)
    line.open_tools = lambda run: replace(opened, host=Gone())
    with pytest.raises(ToolServerUnavailable):
        talking.finish(run, line)
    assert talking.calls(run) == []


def test_conversations_of_one_shard_are_told_apart(talking: TalkingRig) -> None:
    run = talking.plan(run={"shard_blocks": 1})
    talking.finish(run)
    told = [conversations_of_run(talking.rig.connection, run.run_no, shard_no=n)["turns"] for n in (0, 1)]
    assert told == [2, 2]
    assert contexts_of_run(talking.rig.connection, run.run_no) == {}


def test_a_model_that_can_search_its_references_is_given_none_of_them_and_all_when_it_gives_up(
    talking: TalkingRig,
) -> None:
    references = ReferenceRig(connection=talking.rig.connection)
    index = references.build().index
    trusted = Calibration(threshold=Threshold(score=0.0, margin=0.0), recall=1.0, n=40, trusted=40)
    references.references.calibrate(index, trusted)
    servers = {"own": {"builtin": True, "tools": sorted(TOOLS)}, "run": {"builtin": True, "tools": [SEARCH_TOOL]}}

    def planned(retrieval: str, **bridge: Any) -> Run:
        source = a_schema_document(retrieval=retrieval, references=["guide"])
        request = talking.rig.request(schema=source, bridge={"enabled": True, "servers": servers, **bridge})
        policy = request.resolved.policy
        known = know(request.schema, policy, references=references.references, tokenizer=WordTokenizer())
        return talking.rig.plan(replace(request, known=known))

    whole = references.references.whole("guide")
    answered = planned("eligible")
    talking.finish(answered)
    assert not any(whole in request.system for request in talking.talker.asked)
    assert contexts_of_run(talking.rig.connection, answered.run_no) == {"on_demand": {"on_demand": 1}}

    talking.talker.asked.clear()
    gave_up = planned("eligible", max_turns=1)
    talking.finish(gave_up)
    assert [whole in request.system for request in talking.talker.asked] == [False, True]
    assert contexts_of_run(talking.rig.connection, gave_up.run_no) == {"full": {"bridge_gave_up": 1}}

    talking.talker.asked.clear()
    critical = planned("critical")
    talking.finish(critical)
    assert all(whole in request.system and request.tools for request in talking.talker.asked)
    assert contexts_of_run(talking.rig.connection, critical.run_no) == {"full": {"critical": 1}}
    assert talking.rig.wrong(critical) == []


def test_a_run_without_tools_has_no_conversation(talking: TalkingRig) -> None:
    run = talking.rig.plan()
    talking.finish(run)
    assert talking.talker.depths == [-1]
    assert talking.summary(run)["bridge"] == {}


def test_a_plan_prices_one_round_of_tools_and_tells_the_bound(talking: TalkingRig) -> None:
    plain = talking.rig.predict(talking.rig.request())
    tools = talking.rig.predict(talking.rig.request(bridge=_BRIDGE))

    assert (plain.calls, plain.usd_bound) == (1, None)
    assert tools.calls == 2
    assert plain.usd is not None
    assert tools.usd is not None
    assert tools.usd_bound is not None
    assert plain.usd < tools.usd < tools.usd_bound < Decimal("0.6")


@pytest.mark.parametrize("max_usd", ["0.5", "0.0001"])
def test_a_plan_tells_what_a_conversation_reserves_of_a_budget(talking: TalkingRig, max_usd: str) -> None:
    bridge = {**_BRIDGE, "max_usd": max_usd}
    told = talking.rig.predict(talking.rig.request(bridge=bridge))
    assert told.conversations == 1
    [(model, usd)] = told.usd_reserved.items()
    assert (model, usd) == (str(talking.rig.model.ref), told.usd_bound)

    short = talking.plan(bridge=bridge, run={"budget_usd": str(round(usd * Decimal("0.95"), 8))})
    with pytest.raises(BudgetExceeded):
        talking.finish(short)
    assert talking.talker.asked == []
    enough = talking.plan(bridge=bridge, run={"budget_usd": str(round(usd * Decimal("1.05"), 8))})
    talking.finish(enough)
    assert talking.rig.one("select reserved_usd from conversation") == pytest.approx(usd, rel=Decimal("0.05"))


def test_a_first_pass_is_no_conversation_and_what_follows_it_is(talking: TalkingRig) -> None:
    run = talking.plan(routing={"rules": [{"id": "two", "two_pass": {}}]})
    talking.finish(run)

    assert talking.talker.depths[0] == -1
    assert set(talking.talker.depths[1:]) == {0, 1, 2}
    assert talking.rig.wrong(run) == []


@pytest.mark.parametrize(("minimum", "caching", "mark"), [(200, True, "5m"), (200, False, None), (100_000, True, None)])
def test_turns_read_what_the_turn_before_has_written_also_where_packs_share_too_little(
    talking: TalkingRig, minimum: int, caching: bool, mark: str | None
) -> None:
    # The prompt alone is shorter, so that packs share nothing through a cache.
    talking.rig.model = a_model(cache_minimum_tokens=minimum)
    run = talking.plan(caching={"enabled": caching})
    talking.finish(run)

    assert talking.rig.one("select cache_ttl from pack") is None
    assert {request.cache_ttl for request in talking.talker.asked} == {mark}
