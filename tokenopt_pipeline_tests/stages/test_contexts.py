"""What packs carry of references: decided from the database, stored, and sent as it was decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from tokenopt_pipeline.adapters.postgres.contexts import contexts_of_run
from tokenopt_pipeline.adapters.postgres.references import PostgresReferences
from tokenopt_pipeline.adapters.postgres.stories import PostgresStories
from tokenopt_pipeline.adapters.postgres.summaries import PostgresSummaries
from tokenopt_pipeline.cli.telling import story_lines
from tokenopt_pipeline.domain.embedding_use import EmbeddingBill
from tokenopt_pipeline.domain.errors import InvalidInput, ProviderUnavailable
from tokenopt_pipeline.domain.probes import Calibration, Probe, Threshold
from tokenopt_pipeline.domain.prompts import system_prompt
from tokenopt_pipeline.domain.runs import Run, Shard
from tokenopt_pipeline.stages.contexts import know
from tokenopt_pipeline.stages.line import Line
from tokenopt_pipeline.stages.plan import RunRequest
from tokenopt_pipeline.stages.retrieve import Retrieval
from tokenopt_pipeline_tests.factories import a_model, a_schema_document
from tokenopt_pipeline_tests.stages.reference_rig import NOW, CountingEmbedder, ReferenceRig
from tokenopt_pipeline_tests.stages.rig import OneSupply, Rig
from tokenopt_pipeline_tests.stages.scripted_provider import not_json, on_call

#: Two rules, and pages that make the reference long enough for finding to be cheaper.
FILES = {
    "Contractions.yml": (
        "{extends: existence, message: \"Use contractions instead of '%s'.\", level: error, ignorecase: true, "
        "tokens: [are not, is not]}"
    ),
    "Very.yml": "{extends: existence, message: \"Don't write '%s'.\", level: error, tokens: [very]}",
    **{f"pages/{n}.md": f"# Page {n}\n\n" + f"Widgets of kind {n} are described at length. " * 40 for n in range(12)},
}
#: A rule fires on each, and each is much like a page, which no rule speaks for.
FIRING = ("Widgets of kind 3 are not described at length.", "Widgets of kind 3 are described at very great length.")
UNSURE = "Quarterly revenue of the subsidiary."


@dataclass(slots=True, kw_only=True)
class KnowingRig:
    """A rig whose schema relies on an indexed reference."""

    rig: Rig
    references: ReferenceRig
    retrieval: str = "eligible"
    #: Searches are trusted from this score on.
    threshold: float = 0.8
    recall: float = 1.0
    embedder: Any = None
    lines: list[Line] = field(default_factory=list)

    def build(
        self,
        files: Mapping[str, str] = FILES,
        *,
        measured: bool = True,
        name: str = "guide",
        lent_by: Mapping[str, str] | None = None,
    ) -> None:
        index = self.references.build(dict(files), name=name).index
        if measured:
            trusted = Calibration(
                threshold=Threshold(score=self.threshold, margin=0.0),
                recall=self.recall,
                n=40,
                trusted=30,
                lent_by=lent_by or {},
            )
            self.references.references.calibrate(index, trusted)

    def request(self, names: Sequence[str] = ("guide",), /, **policy: Any) -> RunRequest:
        source = a_schema_document(retrieval=self.retrieval, references=list(names))
        request = self.rig.request(schema=source, **policy)
        known = know(
            request.schema,
            request.resolved.policy,
            references=PostgresReferences(self.rig.connection),
            tokenizer=self.rig.tokenizer,
        )
        return replace(request, known=known)

    def line(self) -> Line:
        line = self.rig.line()
        line.contexts.open_retrieval = self._retrieval
        return line

    def _retrieval(self, _run: Run) -> Retrieval:
        found = self.references.retrieval
        return found if self.embedder is None else replace(found, embedder_for=lambda name, dimension: self.embedder)

    def packed(self, names: Sequence[str] = ("guide",), /, **policy: Any) -> tuple[Run, Line]:
        run, line = self.rig.plan(self.request(names, **policy)), self.line()
        for shard_no in range(run.n_shards):
            shard = Shard(run_no=run.run_no, shard_no=shard_no)
            line.decide(run, shard)
            line.pack(run, shard)
        return run, line

    def contexts(self, run: Run) -> dict[str, dict[str, int]]:
        return contexts_of_run(self.rig.connection, run.run_no)

    def carried(self, run: Run) -> list[dict[str, Any]]:
        query = "select x.* from pack_context x join pack p using (pack_no) where run_no = %(run)s order by pack_no"
        return self.rig.rows(query, run=run.run_no)


@pytest.fixture
def knowing(rig: Rig) -> KnowingRig:
    # The prefix is long enough for a cache mark with and without references.
    rig.model = a_model(cache_minimum_tokens=1)
    return KnowingRig(rig=rig, references=ReferenceRig(connection=rig.connection))


def whole_of(knowing: KnowingRig) -> str:
    return PostgresReferences(knowing.rig.connection).whole("guide")


def systems(rig: Rig) -> list[str]:
    return [asked.request.system for asked in rig.provider.asked]


def test_packs_carry_what_was_found_for_their_blocks_and_share_the_prompt_as_their_prefix(knowing: KnowingRig) -> None:
    knowing.build()
    knowing.rig.ingest(*FIRING)
    run, line = knowing.packed(packing={"pack_size": 1})
    assert knowing.contexts(run) == {"retrieved": {"retrieved": 2}}

    knowing.rig.finish(run, line=line)

    assert systems(knowing.rig) == [system_prompt(run.form.asked)] * 2
    contractions, very = (asked.request.found for asked in knowing.rig.provider.asked)
    assert "Use contractions instead of" in contractions
    assert "Don't write" in very
    assert [row["tokens"] > 0 for row in knowing.carried(run)] == [True, True]
    assert knowing.rig.statuses(run) == {"ai_complete": 2}
    summary = PostgresSummaries(knowing.rig.connection, tables=OneSupply(model=knowing.rig.model)).summary(run)
    assert summary["contexts"] == {"retrieved": {"retrieved": 2}}


def test_a_pack_with_one_unsure_block_carries_the_reference_whole_in_its_prefix(knowing: KnowingRig) -> None:
    knowing.build()
    knowing.rig.ingest(*FIRING, UNSURE)
    run, line = knowing.packed(packing={"pack_size": 1})
    assert knowing.contexts(run) == {
        "retrieved": {"retrieved": 2},
        "full": {"score_below_threshold": 1},
    }
    knowing.rig.finish(run, line=line)

    [last] = [asked.request for asked in knowing.rig.provider.asked if UNSURE in asked.texts]
    assert last.system.startswith(system_prompt(run.form.asked))
    assert whole_of(knowing) in last.system
    assert last.found == ""
    assert "block 1: best score" in knowing.carried(run)[-1]["reason"]


def test_a_rule_that_fires_on_a_block_is_no_certainty_about_the_pages_beside_it(knowing: KnowingRig) -> None:
    knowing.build()
    knowing.rig.ingest("They are not here.")
    run, _ = knowing.packed()
    assert knowing.contexts(run) == {"full": {"score_below_threshold": 1}}


def test_a_block_on_which_no_rule_of_a_rule_set_fires_is_no_doubt(knowing: KnowingRig) -> None:
    rules = {name: text for name, text in FILES.items() if name.endswith(".yml")}
    more = {
        f"Long{n}.yml": f'{{extends: existence, message: "{"No words. " * 60}", tokens: [w{n}]}}' for n in range(12)
    }
    knowing.build({**rules, **more})
    knowing.rig.ingest(FIRING[0], UNSURE)
    run, _ = knowing.packed(packing={"pack_size": 1})
    assert knowing.contexts(run) == {"retrieved": {"retrieved": 2}}


def test_rules_of_one_reference_say_what_is_looked_for_in_another(knowing: KnowingRig) -> None:
    rules = {name: text for name, text in FILES.items() if name.endswith(".yml")}
    pages = {name: text for name, text in FILES.items() if name.startswith("pages/")}
    about = {"short.md": "# Shortened forms\n\nWhere to use contractions: Use contractions instead of long forms."}
    knowing.references.embedder = None
    knowing.build(rules)
    knowing.threshold = 0.0
    knowing.rig.ingest("They are not here.")
    guide = knowing.references.references.serving("guide")
    assert guide is not None
    for names, lent_by in ((["pages"], {}), (["guide", "pages"], {"guide": guide.recipe_digest})):
        knowing.build({**pages, **about}, name="pages", lent_by=lent_by)
        run, _ = knowing.packed(names, retrieval={"k": 1})
        query = "select text from context_text where text_id = any(%(ids)s)"
        texts = knowing.rig.rows(query, ids=[each for carried in knowing.carried(run) for each in carried["text_ids"]])
        assert knowing.contexts(run) == {"retrieved": {"retrieved": 1}}
        assert any("Shortened forms" in each["text"] for each in texts) is bool(lent_by), names


def test_an_index_is_not_trusted_in_a_run_that_lends_it_other_rules_than_its_probes_had(knowing: KnowingRig) -> None:
    knowing.threshold = 0.0
    knowing.build()
    knowing.build({"short.md": "# Shortened forms\n\nUse contractions instead of long forms."}, name="pages")
    knowing.rig.ingest("They are not here.")
    assert knowing.contexts(knowing.packed(["pages"])[0]) != {"full": {"measured_otherwise": 1}}

    run, _ = knowing.packed(["guide", "pages"])

    assert knowing.contexts(run) == {"full": {"measured_otherwise": 1}}
    [carried] = knowing.carried(run)
    assert carried["reason"] == (
        "index pages was measured without rules of other references, the run searches with rules of guide"
    )


def test_a_critical_schema_always_gets_everything_without_a_search(knowing: KnowingRig) -> None:
    knowing.retrieval = "critical"
    knowing.build()
    knowing.rig.ingest(*FIRING)
    knowing.embedder = CountingEmbedder()
    run, line = knowing.packed(packing={"pack_size": 1})
    knowing.rig.finish(run, line=line)

    assert knowing.contexts(run) == {"full": {"critical": 2}}
    assert all(whole_of(knowing) in system for system in systems(knowing.rig))
    assert len(set(systems(knowing.rig))) == 1
    # The second call reads what the first has written, references included.
    reads = knowing.rig.one("select max(cache_read) from ledger")
    assert reads > run.knowledge.n_tokens


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ("unmeasured", "not_measured"),
        ("low recall", "recall_below_gate"),
        ("stale", "stale_index"),
        ("rebuilt", "stale_index"),
        ("off", "switched_off"),
        ("no embedder", "search_failed"),
    ],
)
def test_every_doubt_sends_the_reference_as_it_was_when_the_run_was_planned(
    knowing: KnowingRig, change: str, cause: str
) -> None:
    knowing.recall = 0.5 if change == "low recall" else 1.0
    knowing.build(measured=change != "unmeasured")
    knowing.rig.ingest(*FIRING)
    planned_with = whole_of(knowing)
    policy = {"retrieval": {"enabled": False}} if change == "off" else {}
    run, line = knowing.rig.plan(knowing.request(**policy)), knowing.line()
    changed = {**FILES, "pages/new.md": "# New\n\nA page that the run does not know."}
    if change == "stale":
        sources = knowing.references
        sources.references.register("guide", [], [Probe(query="q", relevant=("a",))], sources_digest="x", now=NOW)
    if change == "rebuilt":
        knowing.build(changed)
    if change == "no embedder":

        @dataclass
        class Gone(CountingEmbedder):
            def query(self, text: str) -> list[float]:
                raise ProviderUnavailable("embeddings: no connection")

        knowing.embedder = Gone()

    knowing.rig.finish(run, line=line)

    assert knowing.contexts(run) == {"full": {cause: 1}}
    [asked] = knowing.rig.provider.asked
    assert planned_with in asked.request.system
    assert "A page that the run does not know" not in asked.request.system


def test_a_short_reference_is_sent_whole_where_that_is_cheaper(knowing: KnowingRig) -> None:
    knowing.build({name: FILES[name] for name in ("Contractions.yml", "Very.yml")})
    knowing.rig.ingest(*(f"{text} Number {n}." for n in range(10) for text in FIRING))
    run, _ = knowing.packed(packing={"pack_size": 1})
    assert knowing.contexts(run) == {"full": {"full_is_cheaper": 20}}


def test_what_is_asked_again_carries_what_its_pack_carried(knowing: KnowingRig) -> None:
    knowing.build()
    knowing.rig.ingest(*FIRING)
    knowing.rig.provider.script = on_call({1: not_json})
    run, line = knowing.packed()
    knowing.rig.finish(run, line=line)

    first, *again = knowing.carried(run)
    assert len(again) == 2
    assert all(
        (row["kind"], row["cause"], row["text_ids"]) == ("retrieved", "retrieved", first["text_ids"]) for row in again
    )
    assert len({asked.request.found for asked in knowing.rig.provider.asked}) == 1
    assert knowing.rig.wrong(run) == []


def test_equal_packs_carry_equal_bytes_and_a_text_is_kept_once(knowing: KnowingRig) -> None:
    knowing.build()
    knowing.rig.ingest(*FIRING)
    one, line = knowing.packed()
    knowing.rig.finish(one, line=line)
    kept = knowing.rig.one("select count(*) from context_text")
    other, line = knowing.packed(reuse={"enabled": False})
    knowing.rig.finish(other, line=line)

    first, second = knowing.rig.provider.asked
    assert first.request.fingerprint == second.request.fingerprint
    assert knowing.rig.one("select count(*) from context_text") == kept


def test_the_story_of_a_block_says_what_its_pack_carried_and_why(knowing: KnowingRig) -> None:
    knowing.build()
    knowing.rig.ingest(UNSURE)
    run, line = knowing.packed()
    knowing.rig.finish(run, line=line)
    uid = knowing.rig.one("select document_id || ':0' from document")

    told = "\n".join(story_lines(PostgresStories(knowing.rig.connection).of_block(run, uid)))

    assert "references  full, " in told
    assert "(score_below_threshold): block 1: best score" in told


def test_a_plan_prices_whole_references_and_found_ones_at_their_most(knowing: KnowingRig) -> None:
    knowing.build()
    knowing.rig.ingest(*(f"{text} Number {n}." for n in range(10) for text in FIRING))
    packing = {"pack_size": 1}
    cached = knowing.rig.predict(knowing.request(packing=packing))
    found = knowing.rig.predict(knowing.request(packing=packing, retrieval={"budget_tokens": 100}))
    off = knowing.rig.predict(knowing.request(packing=packing, retrieval={"enabled": False}))
    bare = knowing.rig.predict(knowing.rig.request(packing=packing))

    # At 2,500 tokens a pack, finding is dearer than reading the whole from the cache.
    assert cached.contexts == {"full": {"full_is_cheaper": 20}}
    assert off.contexts == {"full": {"switched_off": 20}}
    assert found.contexts == {"retrieved": {"retrieved": 20}}
    assert bare.contexts == {}
    assert bare.usd is not None
    assert found.usd is not None
    assert cached.usd is not None
    assert bare.usd < found.usd < cached.usd == off.usd
    assert bare.usd_baseline is not None
    assert cached.usd_baseline is not None
    assert cached.usd_baseline > bare.usd_baseline


def test_a_plan_prices_the_queries_that_a_vendor_will_be_paid_for(knowing: KnowingRig) -> None:
    knowing.rig.ingest(*FIRING)
    knowing.build()
    free = knowing.rig.predict(knowing.request())
    knowing.references.embedder = CountingEmbedder(name="openai/text-embedding-3-small")
    knowing.build()
    paid = knowing.rig.predict(knowing.request())
    unsearched = knowing.rig.predict(knowing.request(retrieval={"enabled": False}))

    tokens = knowing.rig.one("select sum(n_tokens) from block")
    usd = Decimal("0.02") * tokens / 1_000_000
    assert paid.queries == {"openai/text-embedding-3-small": EmbeddingBill(requests=2, tokens=tokens, usd=usd)}
    assert free.usd is not None
    assert paid.usd == free.usd + usd
    assert free.queries == unsearched.queries == {}


def test_a_plan_with_a_budget_expects_no_search_by_an_embedder_whose_price_nobody_knows(knowing: KnowingRig) -> None:
    knowing.rig.ingest(*FIRING)
    knowing.references.embedder = CountingEmbedder(name="custom/nobody-knows")
    knowing.build()
    some = {"retrieval": {"budget_tokens": 100}}
    unknown = knowing.rig.predict(knowing.request(**some))
    within = knowing.rig.predict(knowing.request(run={"budget_usd": "1"}, **some))

    assert unknown.usd is None
    assert unknown.queries["custom/nobody-knows"].requests == 2
    assert within.usd is not None
    assert (within.contexts, within.queries) == ({"full": {"search_failed": 1}}, {})


def test_a_reference_that_is_not_registered_or_fits_no_window_is_refused_before_anything_is_spent(
    knowing: KnowingRig,
) -> None:
    knowing.rig.ingest(*FIRING)
    with pytest.raises(InvalidInput, match="schema obligations relies on it: reference 'guide' does not exist"):
        knowing.request()
    knowing.build()
    knowing.rig.model = a_model(context_tokens=8_000, max_output_tokens=4_000)
    for refused in (knowing.rig.plan, knowing.rig.predict):
        with pytest.raises(InvalidInput, match="references guide: whole they are about"):
            refused(knowing.request())
    assert knowing.rig.one("select count(*) from run") == 0


def test_a_first_pass_is_asked_without_references_and_the_second_with_what_its_blocks_need(knowing: KnowingRig) -> None:
    knowing.retrieval = "critical"
    knowing.build()
    knowing.rig.ingest(*FIRING)
    run, line = knowing.packed(routing={"rules": [{"id": "two", "two_pass": {}}]})
    knowing.rig.finish(run, line=line)

    whole = whole_of(knowing)
    carry = [whole in asked.request.system for asked in knowing.rig.provider.asked]
    assert carry[0] is False
    assert all(carry[1:])
    assert len(carry) > 1
    assert knowing.rig.wrong(run) == []


def test_a_model_that_is_asked_instead_gets_the_same_references(knowing: KnowingRig) -> None:
    knowing.build()
    knowing.rig.ingest(*FIRING)
    models = ["anthropic/claude-sonnet-5-5", "anthropic/claude-haiku-5-5"]
    gone = ProviderUnavailable("away")
    knowing.rig.provider.script = lambda asked: gone if asked.request.model.ref.model == "claude-sonnet-5-5" else None
    run, line = knowing.packed(routing={"models": {"mid": models}}, retries={"transient_tries": 1})
    knowing.rig.finish(run, line=line)

    first, *_, last = (asked.request for asked in knowing.rig.provider.asked)
    assert (str(first.model.ref), str(last.model.ref)) == tuple(models)
    assert first.found == last.found != ""
    assert knowing.rig.wrong(run) == []


def test_a_schema_that_wants_no_references_knows_none(knowing: KnowingRig) -> None:
    knowing.retrieval = "none"
    knowing.rig.ingest(*FIRING)
    run, line = knowing.packed()
    knowing.rig.finish(run, line=line)

    assert knowing.contexts(run) == {}
    assert run.knowledge.references == ()
