"""The Anthropic models the sandbox knows: limits, cache minimum, and what each refuses.

Source of every row: https://platform.claude.com/docs/en/about-claude/models/overview, the models' migration guides and
the prompt-caching page, read 2026-11-22; litellm's public model table for the older ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tokenopt_pipeline.sandbox.json_value import Json, JsonObject
from tokenopt_pipeline.sandbox.replay import is_replay

_FOUR_EFFORTS = ("low", "medium", "high", "max")
_FIVE_EFFORTS = ("low", "medium", "high", "xhigh", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnthropicModel:
    """One model, under the id its answers carry."""

    id: str
    aliases: tuple[str, ...] = ()
    name: str
    line: str
    released: str
    """ISO date."""
    context_tokens: int = 1_000_000
    max_output_tokens: int = 128_000
    cache_minimum_tokens: int = 512
    thinking_types: tuple[str, ...] = ("adaptive", "disabled")
    """Values of `thinking.type` that are accepted."""
    thinks_by_default: bool = True
    """Whether a request without `thinking` thinks."""
    forced_tool_choice: bool = True
    prefill: bool = False
    sampling: bool = False
    """Whether temperature, top_p and top_k may differ from their defaults."""
    efforts: tuple[str, ...] = _FIVE_EFFORTS
    binds_thinking: bool = False
    """Whether thinking is valid only after the very conversation it followed."""

    @property
    def inference_geo(self) -> str:
        """What recorded usage objects say: models up to 4.5 do not tell."""
        return "not_available" if self.prefill else "global"

    def as_json(self) -> JsonObject:
        """The model as `GET /v1/models` shows it."""
        yes: JsonObject = {"supported": True}
        no: JsonObject = {"supported": False}
        efforts: JsonObject = {name: yes if name in self.efforts else no for name in _FIVE_EFFORTS}
        thinking: dict[str, Json] = {
            kind: yes if kind in self.thinking_types else no
            for kind in ("adaptive", "between_tools", "disabled", "enabled")
        }
        return {
            "type": "model",
            "id": self.id,
            "display_name": self.name,
            "created_at": f"{self.released}T00:00:00Z",
            "lifecycle": "active",
            "deprecated_at": None,
            "retires_at": None,
            "line": self.line,
            "max_input_tokens": self.context_tokens,
            "max_tokens": self.max_output_tokens,
            "capabilities": {
                "batch": yes,
                "citations": yes,
                "code_execution": no,
                "context_management": {"supported": False},
                "effort": {"supported": bool(self.efforts), **efforts},
                "image_input": yes,
                "pdf_input": yes,
                "server_tools": {"supported": False, "code_execution": no, "web_search": no},
                "structured_outputs": yes,
                "thinking": {"supported": True, "types": thinking},
            },
        }


MODELS: tuple[AnthropicModel, ...] = (
    AnthropicModel(
        id="claude-haiku-5-5", name="Claude Haiku 5.5", line="haiku", released="2026-10-21", binds_thinking=True
    ),
    AnthropicModel(
        id="claude-sonnet-5-5",
        name="Claude Sonnet 5.5",
        line="sonnet",
        released="2026-10-21",
        thinking_types=("adaptive", "between_tools"),
        forced_tool_choice=False,
        binds_thinking=True,
    ),
    AnthropicModel(
        id="claude-opus-5-5",
        name="Claude Opus 5.5",
        line="opus",
        released="2026-09-22",
        thinking_types=("adaptive",),
        forced_tool_choice=False,
        binds_thinking=True,
    ),
    AnthropicModel(
        id="claude-fable-5-2",
        name="Claude Fable 5.2",
        line="fable",
        released="2026-11-01",
        thinking_types=("adaptive",),
        forced_tool_choice=False,
        binds_thinking=True,
    ),
    AnthropicModel(
        id="claude-fable-5-1",
        name="Claude Fable 5.1",
        line="fable",
        released="2026-09-22",
        thinking_types=("adaptive",),
        forced_tool_choice=False,
        binds_thinking=True,
    ),
    AnthropicModel(
        id="claude-sonnet-5",
        name="Claude Sonnet 5",
        line="sonnet",
        released="2026-07-01",
        cache_minimum_tokens=1024,
    ),
    AnthropicModel(id="claude-opus-5", name="Claude Opus 5", line="opus", released="2026-07-01"),
    AnthropicModel(
        id="claude-opus-4-8",
        name="Claude Opus 4.8",
        line="opus",
        released="2026-05-28",
        cache_minimum_tokens=1024,
        thinks_by_default=False,
    ),
    AnthropicModel(
        id="claude-opus-4-7",
        name="Claude Opus 4.7",
        line="opus",
        released="2026-04-16",
        cache_minimum_tokens=2048,
        thinks_by_default=False,
    ),
    AnthropicModel(
        id="claude-sonnet-4-6",
        name="Claude Sonnet 4.6",
        line="sonnet",
        released="2026-02-17",
        max_output_tokens=64_000,
        cache_minimum_tokens=1024,
        thinking_types=("adaptive", "enabled", "disabled"),
        thinks_by_default=False,
        sampling=True,
        efforts=_FOUR_EFFORTS,
    ),
    AnthropicModel(
        id="claude-opus-4-6",
        name="Claude Opus 4.6",
        line="opus",
        released="2026-02-05",
        cache_minimum_tokens=4096,
        thinking_types=("adaptive", "enabled", "disabled"),
        thinks_by_default=False,
        sampling=True,
        efforts=_FOUR_EFFORTS,
    ),
    AnthropicModel(
        id="claude-haiku-4-5-20251001",
        aliases=("claude-haiku-4-5",),
        name="Claude Haiku 4.5",
        line="haiku",
        released="2025-10-01",
        context_tokens=200_000,
        max_output_tokens=64_000,
        cache_minimum_tokens=4096,
        thinking_types=("enabled", "disabled"),
        thinks_by_default=False,
        prefill=True,
        sampling=True,
        efforts=(),
    ),
    AnthropicModel(
        id="claude-sonnet-4-5-20250929",
        aliases=("claude-sonnet-4-5",),
        name="Claude Sonnet 4.5",
        line="sonnet",
        released="2025-09-29",
        context_tokens=200_000,
        max_output_tokens=64_000,
        cache_minimum_tokens=1024,
        thinking_types=("enabled", "disabled"),
        thinks_by_default=False,
        prefill=True,
        sampling=True,
        efforts=(),
    ),
    AnthropicModel(
        id="claude-opus-4-5-20251101",
        aliases=("claude-opus-4-5",),
        name="Claude Opus 4.5",
        line="opus",
        released="2025-11-01",
        context_tokens=200_000,
        max_output_tokens=64_000,
        cache_minimum_tokens=4096,
        thinking_types=("enabled", "disabled"),
        thinks_by_default=False,
        prefill=True,
        sampling=True,
        efforts=("low", "medium", "high"),
    ),
)

BY_NAME = {name: model for model in MODELS for name in (model.id, *model.aliases)}

# What a model of recordings takes and refuses: it has none of its own.
_REPLAYING = replace(BY_NAME["claude-haiku-4-5"], aliases=(), thinks_by_default=False)


def model_named(name: str) -> AnthropicModel | None:
    """The model called `name`."""
    return replace(_REPLAYING, id=name) if is_replay(name) else BY_NAME.get(name)
