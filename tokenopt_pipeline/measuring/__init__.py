"""Benchmarks of the product by the product: scenarios over workloads through the real line, their tables, gates and verdict."""
