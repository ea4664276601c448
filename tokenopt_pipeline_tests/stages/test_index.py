"""Building an index: once per content, beside the one that serves, all or nothing."""

from __future__ import annotations

from threading import Event, Thread

import psycopg
import pytest

from tokenopt_pipeline.adapters.postgres.connection import Connection, connect
from tokenopt_pipeline.domain.errors import InvalidInput, NotFound, ReferenceBusy
from tokenopt_pipeline.domain.probes import Probe
from tokenopt_pipeline.stages.retrieve import Query
from tokenopt_pipeline_tests.stages.reference_rig import GUIDE, NOW, CountingEmbedder, ReferenceRig


@pytest.fixture
def rig(connection: Connection) -> ReferenceRig:
    return ReferenceRig(connection=connection)


def embedded(rig: ReferenceRig) -> int:
    assert rig.embedder is not None
    return len(rig.embedder.embedded)


def test_files_become_an_index_that_serves(rig: ReferenceRig) -> None:
    outcome = rig.build()

    assert (outcome.was_current, outcome.embedded, outcome.reused) == (False, 5, 0)
    index = outcome.index
    assert (index.n_chunks, index.n_sections, index.n_rules, index.dimension) == (5, 5, 2, 16)
    assert rig.references.serving("guide") == outcome.index
    assert rig.references.find("guide").n_sources == 4
    assert rig.references.whole("guide").startswith("Contractions\nUse contractions instead of '…'.")


def test_the_same_files_again_change_nothing_and_embed_nothing(rig: ReferenceRig) -> None:
    first = rig.build()
    again = rig.build(dict(reversed(GUIDE.items())))

    assert again.was_current
    assert again.index == first.index
    assert embedded(rig) == 5


def test_a_change_embeds_what_changed_and_nothing_else(rig: ReferenceRig) -> None:
    first = rig.build()
    changed = rig.build({**GUIDE, "pages/lists.md": "# Bulleted lists\n\nOther words."})

    assert (changed.embedded, changed.reused) == (1, 4)
    assert changed.index.index_no != first.index.index_no
    assert rig.retrieval.hits(changed.index, Query(text="other words"), k=1)[0].chunk.text == "Other words."


def test_what_one_reference_paid_for_another_does_not_pay_again(rig: ReferenceRig) -> None:
    rig.build()
    other = rig.build(name="copy")

    assert (other.embedded, other.reused) == (0, 5)


@pytest.mark.parametrize("changed", [CountingEmbedder(name="another"), CountingEmbedder(dimension=24), None], ids=str)
def test_another_model_or_dimension_makes_another_index(rig: ReferenceRig, changed: CountingEmbedder | None) -> None:
    first = rig.build()
    rig.embedder = changed
    second = rig.build()

    assert not second.was_current
    assert second.index.index_no != first.index.index_no
    assert second.embedded == (0 if changed is None else 5)
    assert (second.index.embedder, second.index.dimension) == (
        (None, None) if changed is None else (changed.name, changed.dimension)
    )
    assert rig.retrieval.hits(second.index, Query(text="a list"), k=1)[0].chunk.source_name == "pages/lists.md"


def test_an_interrupted_build_leaves_the_other_index_serving_and_goes_on_where_it_was(rig: ReferenceRig) -> None:
    served = rig.build().index
    more = {f"pages/p{n}.md": f"# Page {n}\n\nText number {n}." for n in range(150)}
    rig.embedder = CountingEmbedder(dies_after=130)
    with pytest.raises(KeyboardInterrupt):
        rig.build({**GUIDE, **more})

    left = rig.references.serving("guide")
    assert left is not None
    assert (left.index_no, left.is_stale) == (served.index_no, True)
    assert rig.retrieval.hits(left, Query(text="a list"), k=1)[0].chunk.source_name == "pages/lists.md"

    rig.embedder = CountingEmbedder()
    resumed = rig.build({**GUIDE, **more})
    # Two requests of 64 were kept; the third died with its process.
    assert (resumed.embedded, resumed.reused) == (150 - 128, 5 + 128)
    assert not resumed.index.is_stale


def test_a_build_that_fails_at_its_very_end_leaves_nothing_behind(rig: ReferenceRig) -> None:
    served = rig.build().index
    tables = rig.tables()
    rig.connection.execute("alter table reference_index add constraint no_more check (n_chunks < 6) not valid")
    try:
        with pytest.raises(psycopg.errors.CheckViolation, match="no_more"):
            rig.build({**GUIDE, "pages/new.md": "New."})
    finally:
        rig.connection.execute("alter table reference_index drop constraint no_more")

    assert rig.tables() == tables
    left = rig.references.serving("guide")
    assert left is not None
    assert left.index_no == served.index_no


def test_the_index_before_the_last_one_is_freed(rig: ReferenceRig) -> None:
    numbers = [rig.build({**GUIDE, "pages/new.md": f"Text {n}."}).index.index_no for n in range(3)]

    assert {int(name.split("_")[1]) for name in rig.tables()} & set(numbers) == set(numbers[1:])


def test_two_processes_do_not_build_one_reference_at_once(rig: ReferenceRig, database_url: str) -> None:
    held, release = Event(), Event()

    def hold() -> None:
        with connect(database_url) as other, ReferenceRig(connection=other).references.exclusive("guide"):
            held.set()
            release.wait(30)

    thread = Thread(target=hold)
    thread.start()
    assert held.wait(30)
    try:
        with pytest.raises(ReferenceBusy, match="'guide' is being indexed"):
            rig.build()
        assert rig.build(name="other").index.n_chunks == 5
    finally:
        release.set()
        thread.join()
    assert not rig.build().was_current


def test_probes_measure_the_index_and_are_kept_with_it(rig: ReferenceRig) -> None:
    probes = [Probe(query=f"They are not here {n}.", relevant=("Style/Contractions.yml",)) for n in range(40)]

    measured = rig.build(probes=probes).index.calibration

    assert measured is not None
    assert measured.recall == 1
    assert 0 < measured.n < 40
    assert measured.trusted == measured.n
    assert rig.references.probes("guide") == probes


def test_an_index_of_rules_alone_trusts_their_silence_when_they_speak_on_its_probes(rig: ReferenceRig) -> None:
    rules = {name: text for name, text in GUIDE.items() if name.startswith("Style/")}
    speaks = [Probe(query=f"They are not here {n}.", relevant=("Style/Contractions.yml",)) for n in range(40)]
    silence = Query(text="They were here.")

    trusting = rig.build(rules, probes=speaks).index
    assert rig.retrieval.can_be_silent(trusting, room_tokens=0)
    assert trusting.calibration is not None
    assert trusting.calibration.threshold is not None
    assert trusting.calibration.threshold.trusts(rig.retrieval.rank(trusting, silence, k=3).confidence)

    missed = [Probe(query=f"Nothing of that kind {n}.", relevant=("Style/Contractions.yml",)) for n in range(40)]
    rig.embedder = None
    misled = rig.build(rules, probes=[*speaks, *missed], name="misled").index
    assert misled.calibration is not None
    assert misled.calibration.threshold is not None
    assert not misled.calibration.threshold.trusts(rig.retrieval.rank(misled, silence, k=3).confidence)


def test_a_current_index_is_measured_again_when_its_probes_change(rig: ReferenceRig) -> None:
    rig.build()
    wrong = [Probe(query=f"They are not here {n}.", relevant=("pages/numbers.md", "Style/Very.yml")) for n in range(40)]

    outcome = rig.build(probes=wrong)

    assert outcome.was_current
    assert outcome.index.calibration is not None
    assert outcome.index.calibration.threshold is None
    assert outcome.index.calibration.recall is None


#: Nothing of it stands in a block, and what a fired rule of the guide says does.
ABOUT = {
    "about.md": "# Shortened forms\n\nUse contractions instead of long forms.",
    **{f"p{n}.md": f"# Page {n}\n\nOthers here are not they {n}." for n in range(5)},
}
ASKS = [Probe(query=f"They are not here {n}.", relevant=("about.md",)) for n in range(40)]


def test_probes_are_measured_with_the_rules_that_other_references_lend_a_run(rig: ReferenceRig) -> None:
    rig.embedder = None
    guide = rig.build().index

    alone = rig.build(ABOUT, probes=ASKS, name="about").index.calibration
    lent = rig.build(ABOUT, probes=ASKS, name="about", rules=["guide"])

    assert alone is not None
    assert (alone.recall, alone.lent_by) == (None, {})
    assert lent.was_current
    assert lent.index.calibration is not None
    assert (lent.index.calibration.recall, lent.index.calibration.lent_by) == (1, {"guide": guide.recipe_digest})
    assert rig.references.serving("about") == lent.index


def test_rules_that_no_run_would_lend_are_refused_before_anything_is_registered(rig: ReferenceRig) -> None:
    rig.build()
    rig.build({"p.md": "# Page\n\nNo rule."}, name="prose")
    for other, said in (("gone", "'gone' has no index"), ("prose", "'prose' holds no rules"), ("about", "for itself")):
        with pytest.raises(InvalidInput, match=said):
            rig.build(ABOUT, probes=ASKS, name="about", rules=[other])
    rig.references.register("guide", [], [], sources_digest="changed", now=NOW)
    with pytest.raises(InvalidInput, match="'guide' has no index of its files"):
        rig.build(ABOUT, probes=ASKS, name="about", rules=["guide"])
    with pytest.raises(NotFound):
        rig.references.find("about")


@pytest.mark.parametrize(
    ("files", "probes", "said"),
    [
        pytest.param({}, (), "there is no file", id="nothing to index"),
        pytest.param(
            GUIDE, (Probe(query="q", relevant=("gone.md",)),), "a probe expects 'gone.md'", id="unknown source"
        ),
    ],
)
def test_bad_input_registers_nothing(
    rig: ReferenceRig, files: dict[str, str], probes: tuple[Probe, ...], said: str
) -> None:
    rig.embedder = CountingEmbedder()
    indexing_of = rig.build if files else lambda **_: _build_nothing(rig)
    with pytest.raises(InvalidInput, match=said):
        indexing_of(probes=probes)
    with pytest.raises(NotFound):
        rig.references.find("guide")


def _build_nothing(rig: ReferenceRig) -> object:
    from tokenopt_pipeline.stages.index import Indexing
    from tokenopt_pipeline_tests.stages.reference_rig import Words

    indexing = Indexing(
        references=rig.references,
        indexes=rig.references,
        embeddings=rig.search,
        tokenizer=Words(),
        retrieval=rig.retrieval,
        embedder=None,
    )
    return indexing.build("guide", [], [], chunk_tokens=50, k=3, budget_tokens=10, recall_gate=0.9, now=NOW)


def test_text_that_postgres_cannot_keep_is_indexed_all_the_same(rig: ReferenceRig) -> None:
    outcome = rig.build({"s/Odd.yml": '{message: "null \\0 byte"}'})

    assert outcome.index.n_chunks == 1
