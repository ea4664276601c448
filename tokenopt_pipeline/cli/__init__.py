"""The terminal's face."""

from __future__ import annotations


def main() -> None:
    """The `tokenopt` command."""
    from tokenopt_pipeline.cli.commands import tokenopt

    tokenopt(prog_name="tokenopt")
