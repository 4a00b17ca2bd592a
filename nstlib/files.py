"""How the package writes a file: beside its target, then renamed, so that nothing is ever lost."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a name to write to; when all went well, the file there takes the place of ``path``.

    A reader finds the old file or the whole new one, also after a crash, and an error leaves the
    old one alone.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     target = Path(folder) / "note.txt"
        ...     with replaced(target) as unfinished:
        ...         _ = unfinished.write_text("whole")
        ...     [file.name for file in Path(folder).iterdir()], target.read_text()
        (['note.txt'], 'whole')
    """
    unfinished = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        yield unfinished
        with unfinished.open("r+b") as file:  # Windows syncs only what may be written
            os.fsync(file.fileno())  # else a power cut after the rename could leave an empty file
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
