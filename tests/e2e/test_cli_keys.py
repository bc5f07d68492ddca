"""The API's keys from the command line: made, shown once, listed, revoked; with a process that runs and without."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest

from bot.api import ApiUse, Caller
from bot.generation import Usage
from storage.store import SqlStore
from tests.e2e.conftest import CommandLine

SECRET = re.compile(r"hk-[A-Za-z0-9_-]{43}")


def made(hearth: CommandLine, *arguments: str) -> str:
    """The secret of a new key, which is all that standard output has."""
    done = hearth("keys", "create", *arguments)
    assert done.returncode == 0, done.stderr
    secret = done.stdout.removesuffix("\n")
    assert SECRET.fullmatch(secret), done.stdout
    assert f"The key {arguments[0]} is made." in done.stderr
    assert SECRET.search(done.stderr) is None
    return secret


def rows(hearth: CommandLine) -> dict[str, list[str]]:
    """The cells of each key's line, by its name; the last one of a name."""
    lines = [line for line in hearth.says("keys", "list").splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
    return {line[0]: line for line in cells}


def one_line(hearth: CommandLine, *arguments: str) -> str:
    """What a command that is refused says: one line, and nothing on standard output."""
    done = hearth(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.timeout(1200)  # a dozen processes
def test_keys_while_a_process_runs_and_when_none_does(hearth: CommandLine) -> None:
    """What one command made the next knows, and the process that runs."""
    assert hearth.says("keys", "list") == "There are no keys. hearth keys create NAME makes one.\n"
    today = datetime.now(UTC).date()
    secret = made(
        hearth,
        *("website", "--organisation", "org-acme", "--model", "default", "--requests-per-minute", "60"),
        *("--tokens-per-day", "100000", "--expires", "90d"),
    )
    with hearth.running():
        other = made(hearth, "notebook")
        known = rows(hearth)
        assert known["notebook"][1:6] == [f"{other[:6]}...{other[-4:]}", "", "all", "", ""]
        cells = known["website"]
        assert cells[1:6] == [f"{secret[:6]}...{secret[-4:]}", "org-acme", "default", "60", "100000"]
        assert cells[6] >= str(today)
        assert cells[7] >= str(today + timedelta(days=90))
        assert cells[8:] == ["never", "valid"]
        assert hearth.says("keys", "revoke", "website") == "Revoked: website. It opens nothing any more.\n"
        assert "revoked already" in one_line(hearth, "keys", "revoke", "website")
    listed = hearth.says("keys", "list")
    assert [line.split("│")[-2].strip() for line in listed.splitlines() if "website" in line] == ["revoked"]
    assert "did you mean notebook?" in one_line(hearth, "keys", "revoke", "notebok")
    again = made(hearth, "website")
    assert rows(hearth)["website"][-1] == "valid"
    for word in (secret, other, again):
        assert hearth.holds(word) == []
        assert word not in listed
        assert word not in hearth.log


@pytest.mark.timeout(1200)
def test_what_a_key_cannot_be_is_one_line_that_says_what_to_do(hearth: CommandLine) -> None:
    """A name that is given, a bad one, a model that there is not, a day that is over."""
    hearth.configure('[models.writer]\nurl = "http://127.0.0.1:1/v1"\n')
    create = ("keys", "create")
    told = one_line(hearth, *create, "a", "--model", "nonsense")
    assert "--model nonsense: there is no such model; there are default, " in told
    assert all(name in told for name in ("writer", "hearth-demo-chat-", "gpt-3.5-turbo"))
    assert "a key's name is 1 to 64 letters" in one_line(hearth, *create, "a b")
    assert "is over" in one_line(hearth, *create, "a", "--expires", "2020-01-31")
    assert not (hearth.data_dir / "hearth.db").exists()
    made(hearth, "a", "--model", "writer", "--model", "gpt-3.5-turbo", "--model", "writer")
    with hearth.running():
        taken = one_line(hearth, *create, "a")
        assert taken.endswith("there is a key 'a' already: choose another name, or first hearth keys revoke a\n")
        assert rows(hearth)["a"][3] == "writer, gpt-3.5-turbo"


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("runs", [False, True])
def test_usage_tells_of_the_api_too(hearth: CommandLine, runs: bool) -> None:
    """By day, key, user and model, beside that of conversations; a user's name commands no terminal."""

    async def use() -> None:
        store = await SqlStore.open(f"sqlite+aiosqlite:///{hearth.data_dir / 'hearth.db'}", default_retention_days=30)
        key = Caller(id="key/1", name="website")
        cost = Usage(prompt_tokens=101, cached_tokens=50, completion_tokens=23)
        await store.count_api_use(ApiUse(caller=key, endpoint="chat", model="default", user="u\x1b[31m", usage=cost))
        await store.count_api_use(ApiUse(caller=key, endpoint="transcriptions", model="default", seconds=2.5))
        await store.aclose()

    began = datetime.now(UTC)
    hearth.data_dir.mkdir()
    asyncio.run(use())
    if runs:
        with hearth.running():
            told = hearth.says("usage")
    else:
        told = hearth.says("usage")
    assert told.startswith("Used of the API:\n")
    assert "Used of conversations" not in told
    assert "audio seconds" in told
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in told.splitlines() if "website" in line]
    assert [cells[1:] for cells in rows] == [
        ["website", "", "transcriptions", "default", "1", "0", "0", "0", "2.5"],
        ["website", "u\ufffd[31m", "chat", "default", "1", "101", "50", "23", "0.0"],
    ]
    assert {cells[0] for cells in rows} <= {str(began.date()), str(datetime.now(UTC).date())}
