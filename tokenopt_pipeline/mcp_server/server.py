"""The server of a run's tools, on the SDK's low-level server, which leaves this process's logging alone."""

from __future__ import annotations

import importlib.metadata
import json
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tokenopt_pipeline.domain.errors import TokenOptError
from tokenopt_pipeline.mcp_server.run_tools import run_tools
from tokenopt_pipeline.ports import RuleSearch, RunReading

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

_NAME = "tokenopt"
# Tools that read at once. Each has a connection to the database.
_MOST_READERS = 4
_MOST_ERROR_CHARS = 500


def run_server(reading: RunReading, rules: RuleSearch | None = None) -> Server[Any]:
    """A server of the run's tools, to be served or connected to in this process. Without `rules`, searches find nothing."""
    import anyio.to_thread
    from mcp.server.lowlevel import Server
    from mcp.types import CallToolRequestParams, CallToolResult, ListToolsResult, TextContent, Tool, ToolAnnotations

    tools = {tool.name: tool for tool in run_tools(reading, rules)}
    readers = anyio.CapacityLimiter(_MOST_READERS)

    async def on_list_tools(_context: Any, _params: Any) -> ListToolsResult:
        return ListToolsResult(
            tools=[
                Tool(
                    name=tool.name,
                    description=tool.description,
                    input_schema=tool.takes.model_json_schema(),
                    output_schema=tool.gives.model_json_schema(),
                    annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
                )
                for tool in tools.values()
            ]
        )

    async def on_call_tool(_context: Any, params: CallToolRequestParams) -> CallToolResult:
        tool = tools.get(params.name)
        if tool is None:
            return _error(f"there is no tool {params.name[:100]!r}; there are: {', '.join(sorted(tools))}")
        try:
            asked = tool.takes.model_validate(params.arguments or {})
            found = await anyio.to_thread.run_sync(tool.run, asked, limiter=readers)
        except ValidationError as problem:
            return _error("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in problem.errors()))
        except TokenOptError as problem:
            return _error(str(problem))
        values = found.model_dump(mode="json")
        # Clients of older protocols read the text only.
        text = TextContent(text=json.dumps(values, ensure_ascii=False))
        return CallToolResult(content=[text], structured_content=values)

    def _error(told: str) -> CallToolResult:
        return CallToolResult(content=[TextContent(text=told[:_MOST_ERROR_CHARS])], is_error=True)

    return Server(
        _NAME,
        version=importlib.metadata.version("tokenopt_pipeline"),
        instructions=f"Blocks, schema, rules and results of run {reading.run.run_id}. Everything is read-only.",
        on_list_tools=on_list_tools,
        on_call_tool=on_call_tool,
    )
