"""Files and folders that people name on a command line: found by suffix, named by their folder, read whole."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from tokenopt_pipeline.adapters.readers import refuse_by_size
from tokenopt_pipeline.domain.errors import DocumentUnreadable, InvalidInput


def find_sources(paths: Sequence[Path], suffixes: Collection[str]) -> dict[str, Path]:
    """Name -> file, in the order of names within a folder; of folders, the files with one of the suffixes.

    A file is called by its own name, a file of a folder by the folder's name and the path below it. Raises InvalidInput
    when a path does not exist or two files would have one name.
    """
    sources: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            folder = path.resolve()
            found = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix.lower() in suffixes)
            if not found:
                raise InvalidInput(f"{path}: no file with one of the suffixes {', '.join(sorted(suffixes))}")
            named = [(f"{folder.name}/{p.relative_to(folder).as_posix()}", p) for p in found]
        elif path.exists():
            named = [(path.name, path)]
        else:
            raise InvalidInput(f"{path}: no such file or folder")
        for name, file in named:
            if sources.get(name, file) != file:
                raise InvalidInput(
                    f"{file} and {sources[name]} would both be named {name}; ingest them by their folders"
                )
            sources[name] = file
    return sources


def content_of(name: str, path: Path) -> bytes:
    """The bytes of a file, if it is not too large. Raises DocumentUnreadable, which calls it by the name."""
    try:
        refuse_by_size(name, path.stat().st_size)
        return path.read_bytes()
    except OSError as problem:
        raise DocumentUnreadable(name, problem.strerror or "it cannot be read") from problem
