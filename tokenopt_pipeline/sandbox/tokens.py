"""The sandbox's counting rule: characters divided by a constant, rounded up.

This is not a tokenizer. It is the rule public peer measurements used, chosen because it is deterministic and anybody can
recompute it; real counts differ by content class, so nothing counted here may be called a provider's figure.
"""

from __future__ import annotations

from dataclasses import dataclass

CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenPrompt:
    """Tokens a provider adds to a prompt without showing them, stated per cause.

    Defaults are medians over recorded single-turn claude-sonnet-4-5 exchanges of billed input minus chars/4 of text,
    compact tool JSON and compact schema JSON: 7 requests with a format and no tool, 14 with one or two tools the model may
    choose, 9 with one to three tools and a forced choice. The tests recompute them when the recordings are at hand.
    """

    format_tokens: int = 148
    """Added when `output_config.format` is present."""
    tools_tokens: int = 506
    """Added when tools are present and the model may choose."""
    forced_tool_tokens: int = 618
    """Added instead when the request forces a tool."""

    def __post_init__(self) -> None:
        for name in ("format_tokens", "tools_tokens", "forced_tool_tokens"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, found {getattr(self, name)}")


def tokens_of_chars(chars: int) -> int:
    """Tokens of a text of `chars` characters."""
    return -(-chars // CHARS_PER_TOKEN)


def tokens_of(text: str) -> int:
    """Tokens of `text`."""
    return tokens_of_chars(len(text))
