"""Token counting with a real vocabulary that ships with the package: nothing is downloaded.

The vocabulary is o200k_base (published by OpenAI under the MIT licence). No vendor's count equals it; models.toml holds
the ratio to each family's own.
"""

from __future__ import annotations

import gzip
import hashlib
from binascii import a2b_base64
from functools import cache
from importlib.resources import files

import tiktoken

# The published checksum of o200k_base.tiktoken.
_SHA256 = "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"
# The published splitting pattern of o200k_base (tiktoken 0.14, tiktoken_ext/openai_public.py).
_PATTERN = "|".join(
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
# Longer texts are counted in slices: one unbroken run of a million characters costs quadratic time otherwise.
# A cut adds at most one token to the count.
_SLICE_CHARS = 50_000
# The whole text and a list of its lines would be fifteen megabytes beside the table; line by line takes twice the time.
_PIECE_BYTES = 1 << 13


class O200kTokenizer:
    """`ports.Tokenizer`. The first count loads the vocabulary: about a third of a second and 45 MB, 70 MB while it loads."""

    def count(self, text: str) -> int:
        """Tokens of the text; special tokens are text like any other."""
        encoding = _encoding()
        slices = (text[i : i + _SLICE_CHARS] for i in range(0, len(text), _SLICE_CHARS))
        return sum(len(encoding.encode_ordinary(part)) for part in slices)

    @staticmethod
    def release() -> None:
        """Gives the vocabulary's memory back, of all tokenizers of this process; the next count loads it again."""
        _encoding.cache_clear()


@cache
def _encoding() -> tiktoken.Encoding:
    packed = files(__package__).joinpath("vocabularies", "o200k_base.tiktoken.gz")
    checksum, ranks, begun = hashlib.sha256(), {}, b""
    with packed.open("rb") as raw, gzip.GzipFile(fileobj=raw) as vocabulary:
        while piece := vocabulary.read(_PIECE_BYTES):
            checksum.update(piece)
            *lines, begun = (begun + piece).split(b"\n")
            for line in lines:
                token, _, rank = line.partition(b" ")
                ranks[a2b_base64(token)] = int(rank)
    if checksum.hexdigest() != _SHA256:
        raise RuntimeError("o200k_base.tiktoken.gz does not hold the published vocabulary; reinstall the package")
    encoding = tiktoken.Encoding("o200k_base", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})
    # Kept by tiktoken to pickle and to look at: 25 MB that counting needs no more.
    encoding._mergeable_ranks = {}
    return encoding
