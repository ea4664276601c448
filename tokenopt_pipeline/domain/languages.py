"""Languages: which of a declared set a text is written in, by script and by frequent words; cheap and deterministic."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

#: What a block without a known language is called, as ISO 639-2 does.
UNDETERMINED: Final = "und"
_READ_CHARS = 300
_LETTER_RUNS = re.compile(r"[^\W\d_]+")
# First and last code point of the scripts that settle the language or the family of a text.
_SCRIPTS: Final = (
    ("ja", "\u3040", "\u30ff"),
    ("ko", "\uac00", "\ud7af"),
    ("zh", "\u4e00", "\u9fff"),
    ("ru", "\u0400", "\u04ff"),
    ("el", "\u0370", "\u03ff"),
    ("he", "\u0590", "\u05ff"),
    ("ar", "\u0600", "\u06ff"),
    ("hi", "\u0900", "\u097f"),
    ("th", "\u0e00", "\u0e7f"),
)
# The most frequent function words; words of several languages count for each of them.
_WORDS: Final = {
    "en": "the of and to in is that for it with as was on be by this are from or shall not an at which have will has its",
    "de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er hat",
    "fr": "de la le et les des en un du une que est pour qui dans par plus pas au sur se ne ce il sont avec ou aux cette",
    "es": "de la que el en y a los se del las un por con no una su para es al lo como más o pero sus le este si ha esta",
    "it": "di e il la che in a per un del è una i le con non si da al come della sono dei più nel alla gli ha ma anche",
    "pt": "de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à seu sua",
    "nl": "de van het een en in is dat op te zijn met voor niet aan er die door om ook als bij uit worden naar of wordt",
    "pl": "w i z na do nie się jest że o od za po przez jak dla oraz co to są lub może który ich jego być tym tego",
}
_VOTES: Final[dict[str, list[str]]] = {}
for _language in sorted(_WORDS):
    for _word in _WORDS[_language].split():
        _VOTES.setdefault(_word, []).append(_language)
#: Every language that `language_of` can name, and `und`.
LANGUAGES: Final = tuple(sorted({*_WORDS, *(name for name, _, _ in _SCRIPTS), UNDETERMINED}))
# Fewer function words than this are chance.
_FEWEST_WORDS = 2


def language_of(text: str) -> str:
    """The language of the text's beginning as an ISO 639-1 code out of `LANGUAGES`; `und` when nothing settles it.

    Script first: a text with more letters of one of the listed scripts than Latin ones is in that script's language
    (kana make Chinese characters Japanese). Else the language with most function words, the earlier of `LANGUAGES` on a tie.
    """
    runs = _LETTER_RUNS.findall(text[:_READ_CHARS])
    letters = sum(map(len, runs))
    others = [run for run in runs if not run.isascii()]
    if others:
        foreign = {name: _count(others, low, high) for name, low, high in _SCRIPTS}
        if foreign["ja"]:
            foreign["ja"] += foreign.pop("zh")
        name, most = max(foreign.items(), key=lambda item: item[1])
        if most * 2 > letters:
            return name
    votes = Counter(language for run in runs for language in _VOTES.get(run.casefold(), ()))
    best = max(sorted(votes), key=lambda language: votes[language], default=UNDETERMINED)
    return best if votes[best] >= _FEWEST_WORDS else UNDETERMINED


def _count(runs: list[str], low: str, high: str) -> int:
    return sum(low <= c <= high for run in runs for c in run)
