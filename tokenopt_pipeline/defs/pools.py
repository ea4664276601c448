"""The pool of Dagster that bounds how many steps ask providers at once."""

PROVIDERS = "providers"
