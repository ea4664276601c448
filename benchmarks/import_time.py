"""CPU that importing the code location costs, beside importing Dagster alone.

python -m benchmarks.import_time [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics

from benchmarks.engine_cost import process_cost

#: What the code location may cost at most, in times of Dagster alone.
MOST_TIMES = 1.5
MODULES = ("dagster", "tokenopt_pipeline.definitions", "tokenopt_pipeline.cli.commands")


def cpu_s(module: str, repeats: int) -> list[float]:
    """CPU seconds of processes that import the module and end, after one that warms the disk cache."""
    process_cost("-c", f"import {module}")
    return [process_cost("-c", f"import {module}")[0].cpu_s for _ in range(repeats)]


def main() -> None:
    """Prints one line per module, and how many times Dagster each costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    dagster = None
    for module in MODULES:
        found = cpu_s(module, options.repeats)
        middle = statistics.median(found)
        dagster = dagster or middle
        print(
            f"import {module:<32} CPU {middle:.2f} s ({min(found):.2f} to {max(found):.2f}, n = {options.repeats})"
            f"   {middle / dagster:.2f} × dagster"
        )


if __name__ == "__main__":
    main()
