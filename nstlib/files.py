"""How the package names a file, and writes it: beside its target, then renamed: nothing is ever lost."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the home folder for a ``~`` that stands for one; else it stays as it is.

    (``Path.expanduser`` raises RuntimeError of a file that is called ``~$letter.png``, as office
    programs call theirs, and of any ``~`` where nobody knows the user's home.)

    Example:
        >>> expanded("~$letter.png").name
        '~$letter.png'
    """
    return Path(os.path.expanduser(path))


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a name to write to; when all went well, the file there takes the place of ``path``.

    A reader finds the old file or the whole new one, also after a crash, and an error leaves the
    old one alone. What the system says of a full disk, or of a folder that is not there, names
    ``path``.

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
    except OSError as error:
        if error.errno is None:
            raise
        # Of a full disk the system names no file, and else one that nobody asked for.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        unfinished.unlink(missing_ok=True)
