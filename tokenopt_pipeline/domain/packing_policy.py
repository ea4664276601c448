"""The packing section of a policy: how many blocks share one request, and how their answers are said."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tokenopt_pipeline.domain.encoding import COMPACT, OUTPUT_FORMS


def _setting(default: Any, why: str, low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "why": why})


@dataclass(frozen=True, slots=True, kw_only=True)
class PackingPolicy:
    """How many blocks share one request, and how answers are said.

    Starting values are those of the worker this product replaces, except for the sizes. Those are of 269 recorded items
    (BatchPrompt's RTE, gpt-4-32k and gpt-3.5-turbo): the strong model is 91.5 % right at 1 per request, 90.3 at 16 and 88.9
    at 32; the weak one is 84.4 and 71.8 at 16; nearly all of the saving is had by 16.
    """

    enabled: bool = _setting(True, "ask several blocks in one request")
    output_form: str = field(
        default=COMPACT,
        metadata={
            "low": None,
            "high": None,
            "why": "compact (short aliases and codes, nulls left out) or plain; values are the same",
            "allowed": "|".join(OUTPUT_FORMS),
        },
    )
    pack_size: int = _setting(16, "blocks in a pack at most", 1, 100)
    pack_size_max: int = _setting(40, "upper bound of pack_size", 1, 100)
    small_max_pack_size: int = _setting(8, "blocks in a pack of the tier small, for the answers' quality", 1, 100)
    mid_max_pack_size: int = _setting(32, "the same for the tier mid", 1, 100)
    large_max_pack_size: int = _setting(32, "the same for the tier large", 1, 100)
    text_heavy_max_pack_size: int = _setting(
        6, "the same for schemas that ask for prose, until enough answers were seen", 1, 100
    )
    overflow_probability: float = _setting(
        0.01, "of a pack whose answers are longer than what it was sized with, once enough were seen", 0.0001, 0.5
    )
    context_window_tokens: int = _setting(
        200_000, "input and output together; the model's own limit if lower", 1024, 2_000_000
    )
    output_reserve_tokens: int = _setting(20_000, "kept free of input for the answer", 256, 200_000)
    overhead_tokens: int = _setting(2_000, "kept free for what the provider adds to a request", 0, 50_000)
    max_output_tokens: int = _setting(8_192, "output of one request at most", 256, 65_536)
    per_block_output_tokens: int = _setting(200, "answer of one block at least, until enough were seen", 1, 65_536)
    single_block_output_tokens: int = _setting(4_096, "max_tokens of a block asked alone", 1, 65_536)

    def quality_cap(self, tier: str) -> int:
        """Blocks that a model of the tier may be asked at once."""
        caps = {"small": self.small_max_pack_size, "mid": self.mid_max_pack_size, "large": self.large_max_pack_size}
        return caps[tier]
