"""Retrieve: what a block, or a pack of blocks, needs of a reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock

from tokenopt_pipeline.domain.contexts import unite
from tokenopt_pipeline.domain.errors import InvalidInput
from tokenopt_pipeline.domain.indexes import IndexedChunk, IndexedRule, IndexedRules, ServedIndex
from tokenopt_pipeline.domain.probes import Probe, ProbeResult, recall_at
from tokenopt_pipeline.domain.ranking import FEEDBACK, Confidence, Lists, Ranked, confidence, fused, rank
from tokenopt_pipeline.domain.retrieval import PackFindings
from tokenopt_pipeline.domain.triggers import Find, Firing, RuleBook, block_scopes
from tokenopt_pipeline.ports import ChunkSearch, Embedder

#: Length of the lists that are fused; twice as many changed nothing on Cranfield's even questions.
LIST_LENGTH = 50
_NO_RULES = IndexedRules(rules=(), untold={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is searched for: a block, or somebody's words."""

    text: str
    #: One of the 17 block types; rules may be about some of them only.
    block_type: str = "paragraph"
    #: What rules of another reference say about the block, in their words; widens the search.
    explained: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One chunk that was found, the best first."""

    chunk: IndexedChunk
    ranked: Ranked


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one search came to."""

    ranked: tuple[Ranked, ...]
    confidence: Confidence
    #: What the rules that fired say about the text, in their words, in the order of their numbers.
    explained: tuple[str, ...]
    #: Rules of which a pattern took too long.
    undecided: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PackContext:
    """What was found for one pack in one reference."""

    findings: PackFindings
    #: In the order of the reference, which is the order they are shown in.
    chunks: tuple[IndexedChunk, ...]

    @property
    def text(self) -> str:
        """The chunks as a model is shown them."""
        return "\n\n".join(chunk.passage for chunk in self.chunks)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    book: RuleBook
    rules: Mapping[int, IndexedRule]
    known: IndexedRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """What searching needs from outside. Safe to call from several threads when `search` is."""

    search: ChunkSearch
    #: Name and dimension of an index's embedder -> the embedder. Raises InvalidInput when it cannot be had.
    embedder_for: Callable[[str, int], Embedder]
    find: Find
    _books: dict[int, _Rules] = field(default_factory=dict)
    _embedders: dict[tuple[str, int], Embedder] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def rank(self, index: ServedIndex, query: Query, *, k: int, room_tokens: int = 0) -> Found:
        """The k chunks that the text needs most, the best first; more where more rules fire.

        With room for whatever no trigger can tell about, that is among them, and silence says that nothing else is needed.
        """
        if not query.text.strip():
            raise InvalidInput("a search needs some words")
        firing, explained = self._fired(index, query)
        rules = self._rules(index)
        asked = "\n".join((query.text, *query.explained, *explained))
        first, lists = self._lists(index, asked, query.text)
        fired = {no: rules.rules[no].trigger for no in firing.fired}
        is_told = rules.known.decide_within(room_tokens)
        ranked = rank(lists, fired, most=k, standing=tuple(rules.known.untold) if is_told else ())
        return Found(
            ranked=tuple(ranked),
            confidence=confidence(
                first,
                ranked,
                untold=rules.known.untold if index.n_rules else None,
                all_asked=is_told and not firing.undecided,
            ),
            explained=explained,
            undecided=len(firing.undecided),
        )

    def lent(self, query: Query, lenders: Sequence[ServedIndex]) -> Query:
        """The query with what the rules of other references say of it: a page about contractions holds none."""
        return replace(query, explained=tuple(said for each in lenders for said in self._fired(each, query)[1]))

    def can_be_silent(self, index: ServedIndex, *, room_tokens: int) -> bool:
        """Whether a block on which no rule fires can be told to need none, see `ranking.SILENCE`."""
        return self._rules(index).known.decide_within(room_tokens)

    def hits(self, index: ServedIndex, query: Query, *, k: int) -> list[Hit]:
        """The first k with the chunks themselves."""
        ranked = self.rank(index, query, k=k).ranked[:k]
        chunks = {chunk.chunk_no: chunk for chunk in self.search.chunks(index, [each.chunk_no for each in ranked])}
        return [Hit(chunk=chunks[each.chunk_no], ranked=each) for each in ranked]

    def pack(self, index: ServedIndex, queries: Sequence[Query], *, k: int, budget_tokens: int) -> PackContext:
        """The union of what a pack's blocks need, for `domain.retrieval.decide_context` to judge."""
        found = [self.rank(index, query, k=k, room_tokens=budget_tokens) for query in queries]
        numbers = {each.chunk_no for one in found for each in one.ranked}
        chunks = {chunk.chunk_no: chunk for chunk in self.search.chunks(index, sorted(numbers))}
        united = unite(
            [one.ranked for one in found],
            {number: chunk.n_tokens for number, chunk in chunks.items()},
            budget_tokens=budget_tokens,
        )
        return PackContext(
            findings=PackFindings(
                confidences=tuple(one.confidence for one in found),
                chunks=united,
                undecided_rules=sum(one.undecided for one in found),
            ),
            chunks=tuple(chunks[number] for number in united.chunk_nos),
        )

    def probe(
        self, index: ServedIndex, probe: Probe, *, k: int, budget_tokens: int, lenders: Sequence[ServedIndex] = ()
    ) -> ProbeResult:
        """What a search makes of one probe, as a pack of it alone would carry it, where these indexes lend their rules."""
        found = self.rank(index, self.lent(Query(text=probe.query), lenders), k=k, room_tokens=budget_tokens)
        chunks = {c.chunk_no: c for c in self.search.chunks(index, [each.chunk_no for each in found.ranked])}
        names = [chunks[each.chunk_no].source_name for each in found.ranked]
        recall = recall_at(names, probe.relevant, len(names))
        return ProbeResult(probe=probe, recall=recall, confidence=found.confidence)

    def _lists(self, index: ServedIndex, asked: str, name: str) -> tuple[Lists, Lists]:
        """The lists as they were found, and with the meaning looked for again from where the first results lie."""
        vector = None
        if index.embedder is not None and index.dimension is not None:
            vector = self._embedder(index.embedder, index.dimension).query(asked)
        lists = self.search.lists(index, words=asked, name=name, vector=vector, n=LIST_LENGTH)
        results = list(fused(lists))[:FEEDBACK]
        if vector is None or not results:
            return lists, lists
        return lists, self.search.closer(index, lists, vector=vector, first=results, n=LIST_LENGTH)

    def _fired(self, index: ServedIndex, query: Query) -> tuple[Firing, tuple[str, ...]]:
        rules = self._rules(index)
        scopes, text = block_scopes(query.block_type, query.text)
        firing = rules.book.fire(text, self.find, scopes=scopes)
        return firing, tuple(_explained(rules.rules[no], words) for no, words in firing.fired.items())

    def _rules(self, index: ServedIndex) -> _Rules:
        with self._lock:
            if index.index_no not in self._books:
                known = self.search.rules(index) if index.n_rules else _NO_RULES
                rules = {rule.chunk_no: rule for rule in known.rules}
                book = RuleBook({number: rule.trigger for number, rule in rules.items()})
                self._books[index.index_no] = _Rules(book=book, rules=rules, known=known)
            return self._books[index.index_no]

    def _embedder(self, name: str, dimension: int) -> Embedder:
        with self._lock:
            if (name, dimension) not in self._embedders:
                self._embedders[name, dimension] = self.embedder_for(name, dimension)
            return self._embedders[name, dimension]


def _explained(rule: IndexedRule, words: str) -> str:
    """What a fired rule says of the words it fired on."""
    return f"{rule.heading}. {rule.message.replace('…', words)}"
