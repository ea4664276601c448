"""The product's own tools for one run, spoken over the Model Context Protocol: read-only, bounded, nothing of another run."""

from __future__ import annotations

from tokenopt_pipeline.mcp_server.server import run_server
from tokenopt_pipeline.mcp_server.serving import HOST, PATH, http_app, listening, serve_http, serve_stdio

__all__ = ["HOST", "PATH", "http_app", "listening", "run_server", "serve_http", "serve_stdio"]
