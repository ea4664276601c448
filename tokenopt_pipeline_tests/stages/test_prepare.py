"""Every block gets one overlay with its decision and, when it is kept, one pack."""

from __future__ import annotations

from collections import Counter

import pytest

from tokenopt_pipeline.domain.documents import BlockType
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.runs import Shard
from tokenopt_pipeline_tests.factories import a_model, a_schema_document
from tokenopt_pipeline_tests.stages.rig import Rig, clauses


def test_each_block_of_a_shard_gets_one_pending_overlay_in_document_order(rig: Rig) -> None:
    rig.ingest(*clauses(5))
    run = rig.plan(run={"shard_blocks": 2})

    shards = [Shard(run_no=run.run_no, shard_no=n) for n in range(3)]
    assert [rig.line().count(run, shard) for shard in shards] == [2, 2, 1]
    assert rig.overlays(run) == {}
    for shard in shards:
        rig.line().decide(run, shard)

    overlays = rig.overlays(run)
    assert list(overlays) == clauses(5)
    assert [o["shard_no"] for o in overlays.values()] == [0, 0, 1, 1, 2]
    assert rig.statuses(run) == {"pending": 5}


def test_a_shard_that_ends_inside_one_document_and_begins_in_another_loses_nothing(rig: Rig) -> None:
    rig.ingest(*clauses(30)[:7], name="a")
    rig.ingest(*clauses(30)[7:8], name="b")
    rig.ingest(*clauses(30)[8:], name="c")
    run = rig.plan(run={"shard_blocks": 4})

    for n in range(run.n_shards):
        rig.line().decide(run, Shard(run_no=run.run_no, shard_no=n))

    assert list(rig.overlays(run)) == clauses(30)
    assert [o["ordinal"] for o in rig.overlays(run).values()] == list(range(30))


def test_a_skipped_block_has_the_rule_and_what_the_rule_saw(rig: Rig) -> None:
    types = {"* * *": BlockType.DIVIDER, "Page 3": BlockType.PAGE_FOOTER}
    rig.ingest("* * *", "Page 3", "  ", "A clause.", types=types)
    run, _, _ = rig.packed()

    overlays = rig.overlays(run)
    assert {t: (o["status"], o["rule_id"]) for t, o in overlays.items()} == {
        "* * *": ("skipped", "divider"),
        "Page 3": ("skipped", "page_furniture"),
        "  ": ("skipped", "blank"),
        "A clause.": ("submitted", "kept"),
    }
    evidence = rig.rows("select rule_id, evidence from overlay order by block_no")
    assert [tuple(r.values()) for r in evidence] == [
        ("divider", "The block is a divider and schema obligations has no field for one."),
        ("page_furniture", "The block is a page_footer and schema obligations has no field for one."),
        ("blank", "The paragraph holds only white space."),
        ("kept", "No skip rule matches."),
    ]


def test_the_pre_filter_can_be_switched_off_for_all_but_blank_blocks(rig: Rig) -> None:
    rig.ingest("* * *", "  ", types={"* * *": BlockType.DIVIDER})
    run, _, _ = rig.packed(prefilter={"enabled": False})
    assert {t: o["status"] for t, o in rig.overlays(run).items()} == {"* * *": "submitted", "  ": "skipped"}


def test_deciding_counts_every_block_of_the_shard_by_rule(rig: Rig) -> None:
    rig.ingest("* * *", "A.", "A.", "B.", types={"* * *": BlockType.DIVIDER})
    run, line = rig.plan(), rig.line()
    shard = Shard(run_no=run.run_no, shard_no=0)
    assert line.decide(run, shard) == {"divider": 1, "kept": 2, "same_as_earlier_block": 1}


def test_a_rule_that_wants_many_words_is_asked_with_the_right_count(rig: Rig) -> None:
    headings = {" ".join(["word"] * n): BlockType.HEADING for n in (49, 50, 51)}
    rig.ingest(*headings, types=headings)
    schema = a_schema_document(prefilter={"heading_min_words": 50})
    run = rig.plan(rig.request(schema=schema))
    shard, line = Shard(run_no=run.run_no, shard_no=0), rig.line()
    assert line.decide(run, shard) == {"short_heading": 1, "kept": 2}


def test_kept_blocks_are_packed_in_document_order_with_their_route_and_limits(rig: Rig) -> None:
    rig.ingest(*clauses(7))
    run, shard, line = rig.packed(packing={"pack_size": 3})

    packs = line.packs.open_packs(shard)
    assert [[m.text for m in line.packs.members(p.pack_no)] for p in packs] == [
        clauses(7)[:3],
        clauses(7)[3:6],
        clauses(7)[6:],
    ]
    assert {(p.route.tier, str(p.route.model), p.route.rule_id) for p in packs} == {
        ("mid", "anthropic/claude-sonnet-5-5", "default")
    }
    assert rig.one("select (limits->>'max_blocks')::int from pack limit 1") == 3
    assert rig.statuses(run) == {"submitted": 7}


def test_blocks_of_different_routes_never_share_a_pack(rig: Rig) -> None:
    short = [f"Short {i}." for i in range(4)]
    rig.ingest(*[text for pair in zip(short, clauses(4), strict=True) for text in pair])
    rule = {"id": "short", "tier": "small", "max_block_tokens": 3}
    _, shard, line = rig.packed(routing={"rules": [rule]})

    packs = line.packs.open_packs(shard)
    assert {p.route.rule_id: [m.text for m in line.packs.members(p.pack_no)] for p in packs} == {
        "short": short,
        "default": clauses(4),
    }


def test_blocks_are_routed_by_their_language_and_their_schema_s_task(rig: Rig) -> None:
    german, english = "Der Mieter zahlt die Miete an den Vermieter.", "The tenant pays the rent to the landlord."
    rig.ingest(german, english)
    rules = [
        {"id": "other-task", "tier": "large", "tasks": ["invoices"]},
        {"id": "german", "tier": "small", "languages": ["de"], "tasks": ["clauses"], "max_complexity": 2},
    ]
    run = rig.plan(rig.request(schema=a_schema_document(task="clauses"), routing={"rules": rules}))
    shard, line = Shard(run_no=run.run_no, shard_no=0), rig.line()
    line.decide(run, shard)
    line.pack(run, shard)

    packs = line.packs.open_packs(shard)
    assert {p.route.rule_id: [m.text for m in line.packs.members(p.pack_no)] for p in packs} == {
        "german": [german],
        "default": [english],
    }
    (reason,) = [p.route.reason for p in packs if p.route.rule_id == "german"]
    assert "its task is one of clauses and its language is one of de" in reason


def test_the_prefix_is_marked_for_caching_when_the_whole_run_will_read_it_again(rig: Rig) -> None:
    rig.model = a_model(cache_minimum_tokens=1)
    rig.ingest(*clauses(4))

    # One pack in each of two shards: alone it would not pay.
    _, shard, line = rig.packed(run={"shard_blocks": 2})
    assert [p.cache_ttl for p in line.packs.open_packs(shard)] == ["5m"]

    _, shard, line = rig.packed()
    assert [p.cache_ttl for p in line.packs.open_packs(shard)] == [None]


def test_a_block_that_fits_into_no_request_fails_before_anything_is_asked(rig: Rig) -> None:
    rig.model = a_model(context_tokens=2_000, max_output_tokens=512)
    rig.ingest("word " * 3_000, *clauses(3))
    assert rig.predict(rig.request()).too_large == 1
    run = rig.plan()
    rig.finish(run)
    assert rig.statuses(run) == {"failed": 1, "ai_complete": 3}
    failed = next(overlay for overlay in rig.overlays(run).values() if overlay["status"] == "failed")
    assert (failed["error_class"], failed["call_no"]) == ("too_large", None)
    assert "takes 2,000; it was not asked" in failed["error_detail"]
    assert all("word word" not in text for asked in rig.provider.asked for text in asked.texts)


def test_a_plan_gives_a_block_to_the_model_with_room_that_a_run_gives_it_to(rig: Rig) -> None:
    small, large = "anthropic/claude-haiku-4-5", "anthropic/claude-sonnet-5-5"
    rig.specs = {small: a_model(context_tokens=2_000, max_output_tokens=512)}
    rig.ingest("word " * 3_000, *clauses(3))
    routing = {"models": {"mid": [small, large]}}

    told = rig.predict(rig.request(routing=routing))
    run, shard, line = rig.packed(routing=routing)

    packs = Counter(str(pack.route.model) for pack in line.packs.open_packs(shard))
    assert (set(packs), packs[large]) == ({small, large}, 1)
    assert {route.model: route.forecast.expected.calls for route in told.routes if route.is_chosen} == packs
    assert (told.too_large, told.packs, rig.statuses(run)) == (0, packs.total(), {"submitted": 4})


def test_a_schema_whose_shortest_answer_no_model_may_write_is_refused(rig: Rig) -> None:
    rig.ingest(*clauses(1))
    long = {"type": "object", "properties": {"a": {"type": "string", "minLength": 100_000}}, "required": ["a"]}
    before = rig.states()
    with pytest.raises(InvalidInput, match="its shortest answer takes at least 12,501 tokens, and anthropic/claude"):
        rig.plan(rig.request(schema=long))
    assert rig.states() == before
