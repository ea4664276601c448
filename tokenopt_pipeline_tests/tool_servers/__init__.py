"""Tool servers that tests start: one of the real SDK, one of an older protocol that needs nothing but Python."""
