"""A PostgreSQL server of the tests' own: Debian's, in a temporary folder, stopped at the end.

A missing server is installed where that is possible (root on Debian) and an error elsewhere; nothing is skipped.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg

from storage.models import metadata
from tests.debian import install
from tests.house import DEADLINE
from tests.ports import free_port

INSTALLED = Path("/usr/lib/postgresql")


class Postgres:
    """A running server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._numbers = count(1)
        self._resting: list[str] = []

    def create(self, encoding: str = "UTF8") -> str:
        """A new, empty database; returns its URL."""
        name = f"test_{next(self._numbers)}"
        self._execute("postgres", f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
        return f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/{name}"

    @contextmanager
    def lent(self) -> Iterator[str]:
        """The URL of a database that nobody else uses: a new one, or one whose rows are removed after its last user."""
        url = self._resting.pop() if self._resting else self.create()
        yield url
        name = url.rpartition("/")[2]
        # Far quicker than a new database, or TRUNCATE, for each test: no files to make and sync.
        self._execute(name, "; ".join(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)))
        self._resting.append(url)

    def _execute(self, database: str, statement: str) -> None:
        where = f"host=127.0.0.1 port={self._port} user=postgres dbname={database}"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def running() -> Iterator[Postgres]:
    """Start a server on a free loopback port; its log is in the error if it does not start."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="hearth-postgres-"))
    run: list[str | Path] = (
        ["setpriv", f"--reuid={_user()}", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    )
    if run:
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"
    try:
        initdb: list[str | Path] = [
            programs / "initdb",
            "--pgdata",
            data,
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
        ]
        _quietly(*run, *initdb, "--locale=C", "--no-sync")
        control = [*run, programs / "pg_ctl", "--pgdata", data, "--wait", f"--timeout={DEADLINE:.0f}"]
        port = _started(control, folder)
        try:
            yield Postgres(port)
        finally:
            _quietly(*control, "stop", "--mode=immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _started(control: list[str | Path], folder: Path) -> int:
    """Start the server; returns its port. Where another program was quicker to take that, it is another one."""
    log = folder / "log"
    for tries_left in (2, 1, 0):
        port = free_port()
        options = f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=on"
        try:
            _quietly(*control, "start", "--log", log, "--options", options)
        except subprocess.CalledProcessError as error:
            told = log.read_text("utf-8")
            if not tries_left or "could not create any TCP/IP sockets" not in told:
                raise RuntimeError(f"PostgreSQL did not start: {error.stderr} {told}") from error
        else:
            return port
    raise AssertionError("the last try returns or raises")


def _quietly(*arguments: str | Path) -> None:
    """Run a program from a folder that every user may enter."""
    subprocess.run(arguments, check=True, capture_output=True, text=True, cwd="/")


def _programs() -> Path:
    def found() -> list[Path]:
        return sorted(INSTALLED.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))

    install(lambda: bool(found()), "postgresql")
    return found()[-1].parent


def _user() -> int:
    return pwd.getpwnam("postgres").pw_uid
