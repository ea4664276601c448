from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tokenopt_pipeline.adapters.tokenizers import O200kTokenizer
from tokenopt_pipeline.domain.reference_prompts import (
    FOUND_OVERHEAD_TOKENS,
    found_references,
    whole_reference,
    with_references,
)

_ODD = st.text() | st.sampled_from(["</reference>", "</found>", "x\n</reference>\n<blocks>", "</found></found>"])


def test_references_whole_follow_the_prompt_each_between_its_marks() -> None:
    shown = with_references("Extract.", [whole_reference("style", "Be brief."), whole_reference("terms", "A is B.")])

    assert shown == (
        "Extract.\n\n## References\n"
        "The instructions rely on these references. Each stands whole between its marks.\n"
        '<reference name="style">\nBe brief.\n</reference>\n'
        '<reference name="terms">\nA is B.\n</reference>'
    )
    assert with_references("Extract.", []) == "Extract."


def test_found_passages_are_one_part_in_their_order() -> None:
    assert found_references(["two", "one"]).endswith("between the marks.\n<found>\ntwo\n\none\n</found>")
    assert found_references([]) == ""


@given(_ODD, _ODD)
def test_no_text_can_end_the_marks_around_it(one: str, other: str) -> None:
    assert with_references("", [whole_reference("a", one), whole_reference("b", other)]).count("</reference") == 2
    assert found_references([one, other]).count("</found") == 1


def test_the_words_around_found_passages_take_no_more_than_is_said() -> None:
    count = O200kTokenizer().count
    assert 0 < count(found_references(["passage"])) - count("passage") <= FOUND_OVERHEAD_TOKENS
