"""All doubts about one block's answer, and whether two models' answers to it differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tokenopt_pipeline.domain.answer_tree import Node, leaves_of, shown
from tokenopt_pipeline.domain.checks import Check, is_empty, number_of
from tokenopt_pipeline.domain.doubts import ANY_CHECK, Doubt
from tokenopt_pipeline.domain.grounding import TextEvidence, figures_in, fold, quotes_in, read_text, stems_of
from tokenopt_pipeline.domain.structure_doubts import structure_doubts
from tokenopt_pipeline.domain.value_doubts import is_default, value_doubts


def find_doubts(
    answer_schema: Mapping[str, object],
    values: Mapping[str, object],
    text: str,
    *,
    violation: str | None,
    checks: Sequence[Check] = (),
) -> tuple[Doubt, ...]:
    """Every doubt about one block's answer, in the order of its values, each id once per place.

    `violation` is what JSON Schema validation says of the answer (`ports.AnswerValidators`), None when it is valid.
    """
    evidence = read_text(text)
    found: list[Doubt] = []
    if violation is not None:
        found.append(Doubt(id="schema", path="", evidence=f"The answer breaks its schema: {violation}."))
    root = Node(values, answer_schema, "")
    leaves = list(leaves_of(root, answer_schema))
    if all(is_empty(leaf.value) for leaf in leaves):
        found.append(Doubt(id="nothing_found", path="", evidence="The answer holds no value at all."))
    else:
        found.append(Doubt(id="something_found", path="", evidence="The answer holds a value."))
    found += structure_doubts(root, answer_schema, evidence)
    for leaf in leaves:
        if not is_empty(leaf.value) and not is_default(leaf):
            found += value_doubts(leaf, evidence, len(text))
    found += _check_doubts(checks, leaves, values, text)
    return tuple({(doubt.id, doubt.path): doubt for doubt in found}.values())


def disagreements(one: Mapping[str, object], other: Mapping[str, object]) -> tuple[Doubt, ...]:
    """The doubt that two models' answers to one block differ, naming the first field that does; none when they agree.

    Numbers compare by value, text without case, marks and white space.
    """
    for name in sorted({*one, *other}):
        left, right = _normal(one.get(name)), _normal(other.get(name))
        if left != right:
            sentence = f"One model answers {name} with {shown(one.get(name))}, another with {shown(other.get(name))}."
            return (Doubt(id="disagreement", path=f"/{name}", evidence=sentence),)
    return ()


def _normal(value: object) -> object:
    if isinstance(value, Mapping):
        return {k: _normal(v) for k, v in value.items() if not is_empty(v)}
    if isinstance(value, list | tuple):
        return [_normal(v) for v in value]
    if is_empty(value):
        return None
    if isinstance(value, str):
        return " ".join(stems_of(value)) or fold(value)
    number = number_of(value)
    # To Python, true is 1.
    return str(value).casefold() if number is None else number


def _check_doubts(
    checks: Sequence[Check], leaves: Sequence[Node], values: Mapping[str, object], text: str
) -> Iterator[Doubt]:
    said = None
    for check in checks:
        if check.is_broken_by(values):
            sentence = check.because or f"The answer breaks the schema's check {check.id}."
            yield Doubt(id=f"{ANY_CHECK}:{check.id}", path="", evidence=sentence)
        # An answer without any value accounts for nothing, which is a doubt of its own.
        if check.covers and not all(is_empty(leaf.value) for leaf in leaves):
            said = said or read_text(" ".join(_said(values)))
            if left_out := _not_covered(check.covers, said, text):
                sentence = f"The block states {shown(left_out)}, and no value of the answer does."
                yield Doubt(id="not_covered", path="", evidence=sentence)


def _said(value: object) -> Iterator[str]:
    """Names and values of an answer, in order."""
    if isinstance(value, Mapping):
        for name, child in value.items():
            yield from (str(name), *_said(child))
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _said(child)
    else:
        yield str(value)


def _not_covered(covers: Sequence[str], said: TextEvidence, text: str) -> str | None:
    """The first number or quote of the block that is in no value; names of fields and alternatives count as values."""
    if "numbers" in covers:
        for number in figures_in(text):
            if number and not any(said.has_number(n) for n in (number, number / 100, number * 1e3, number * 1e6)):
                return f"{number:g}"
    if "quotes" in covers:
        return next((quote for quote in quotes_in(text) if fold(quote) not in said.folded), None)
    return None
