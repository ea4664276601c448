"""The language of a text follows from its script and its function words, and from nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given

from tokenopt_pipeline.domain.languages import LANGUAGES, language_of
from tokenopt_pipeline_tests.domain.generated import ANY_TEXT, examples


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The tenant pays the rent on the first day of the month.", "en"),
        ("Der Mieter zahlt die Miete am ersten Tag des Monats.", "de"),
        ("Le locataire paie le loyer et les charges du logement.", "fr"),
        ("El inquilino paga la renta de la casa.", "es"),
        ("Il conduttore paga il canone della casa con la fattura.", "it"),
        ("O inquilino não paga a renda da casa.", "pt"),
        ("De huurder betaalt de huur van het huis.", "nl"),
        ("Najemca nie płaci czynszu i jest w zwłoce.", "pl"),
        ("Арендатор платит аренду.", "ru"),
        ("Ο ενοικιαστής πληρώνει.", "el"),
        ("השוכר משלם.", "he"),
        ("يدفع المستأجر الإيجار.", "ar"),
        ("किरायेदार किराया देता है", "hi"),
        ("ผู้เช่าจ่ายค่าเช่า", "th"),
        ("임차인은 임대료를 낸다", "ko"),
        ("租户支付租金", "zh"),
        ("借主は家賃を払う", "ja"),
        ("Zahlung: 12,50 €", "und"),
        ("Größe", "und"),
        ("12 34", "und"),
        ("", "und"),
    ],
)
def test_a_sentence_is_in_its_language(text: str, language: str) -> None:
    assert language_of(text) == language


def test_a_few_foreign_words_do_not_make_a_text_foreign() -> None:
    assert language_of("The company 株式会社 is the owner of the patent.") == "en"


def test_one_function_word_is_chance() -> None:
    assert language_of("invoice the") == "und"


@examples(80)
@given(ANY_TEXT)
def test_any_text_has_one_of_the_declared_languages(text: str) -> None:
    assert language_of(text) in LANGUAGES
    assert language_of(text) == language_of(text)
