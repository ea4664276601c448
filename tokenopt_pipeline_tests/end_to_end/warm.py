"""For the process that commands are forked from: loads what each of them would load when it first counts a token, asks for a
price or opens Dagster's home."""

from __future__ import annotations

from tokenopt_pipeline.measuring.cell_processes import warm_up

warm_up()
