"""Whose terminal: the name of a process's console where several processes share a database."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from bot.errors import StartError

FILE = "instance"
ID_BYTES = 8
"""Two of a thousand machines are alike once in 10^13 times."""


def account_in(data_dir: Path) -> str:
    """The id that is kept in `data_dir/instance`, made at the first call. Raises StartError.

    Only the process whose socket a question came from can show its answer: it must find its own questions again after
    a restart, and leave those of others alone.
    """
    file = data_dir / FILE
    try:
        if not file.exists():
            _make(file)
        return file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"{file} cannot be used ({error}).") from error


def _make(file: Path) -> None:
    """Whole or not at all, and once: two processes may begin at the same time."""
    part = file.with_name(f"{file.name}.{secrets.token_hex(ID_BYTES)}")
    with part.open("x", encoding="ascii") as new:
        new.write(f"{secrets.token_hex(ID_BYTES)}\n")
        new.flush()
        os.fsync(new.fileno())
    try:
        file.hardlink_to(part)
    except FileExistsError:
        return
    finally:
        part.unlink()
