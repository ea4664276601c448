"""Tests of the provider stand-in."""
