"""Tests of the benchmarks: what they measure, write and gate."""
