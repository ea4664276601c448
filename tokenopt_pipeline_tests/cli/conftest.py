"""The fixtures of the end-to-end tests, for tests of single commands."""

from __future__ import annotations

from tokenopt_pipeline_tests.end_to_end.conftest import line_server, module_terminal, sandbox

__all__ = ["line_server", "module_terminal", "sandbox"]
