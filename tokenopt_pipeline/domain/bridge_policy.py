"""The bridge section of a policy: which tools a model may call, and how far a conversation with them may go."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tokenopt_pipeline.domain.tool_servers import ToolServer

#: The built-in server's tool that searches the references of a run's schema.
SEARCH_TOOL = "search_style_rules"


def _setting(default: Any, why: str, low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "why": why})


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgePolicy:
    """Tools that a model may call while it answers a pack. At every bound the pack is asked plainly, with full context."""

    enabled: bool = _setting(False, "let models call the tools below")
    max_turns: int = _setting(6, "requests of one pack's conversation", 1, 50)
    max_tool_calls: int = _setting(24, "tool calls of one pack's conversation", 1, 1_000)
    max_tokens: int = _setting(200_000, "billed tokens of one pack's conversation, input and output", 1_000, 10_000_000)
    max_usd: Decimal | None = field(
        default=Decimal("0.5"),
        metadata={"low": 0, "high": 1_000, "why": "dollars of one pack's conversation, where prices are known"},
    )
    max_seconds: float = _setting(300.0, "one pack's conversation", 1.0, 3_600.0)
    result_bytes: int = _setting(16_384, "one result; what is longer is cut with a mark", 256, 1_048_576)
    start_timeout_s: float = _setting(30.0, "for a server to start or connect and list its tools", 0.1, 300.0)
    call_timeout_s: float = _setting(20.0, "for one tool call", 0.1, 600.0)
    servers: tuple[ToolServer, ...] = field(
        default=(),
        metadata={
            "low": None,
            "high": None,
            "why": "name -> command, args, env; or url, token_env; or builtin; and tools",
        },
    )

    @property
    def searches_references(self) -> bool:
        """Whether models have the tool that searches a run's references."""
        return self.enabled and any(server.builtin and SEARCH_TOOL in server.tools for server in self.servers)
