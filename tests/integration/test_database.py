"""A SQLite file: who may open it, what a bad one says, and that what was forgotten is in no byte of it."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.errors import DatabaseError
from bot.messages import ActionName, AnswerState, Attached, Author, Finished, Message, Settings, Triage
from bot.records import Reading
from storage.backup import check_backup
from storage.migrate import SCHEMA
from storage.store import SqlStore
from tests.contract.talk import (
    ANN,
    BEN,
    CHAT,
    GROUP,
    NOTES,
    WORDS,
    answer,
    ask,
    claimed,
    edited,
    finished,
    pressed,
    reading,
    said,
    send,
    texts,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "hearth.db"


async def opened(file: Path, *, days: int = 30) -> SqlStore:
    return await SqlStore.open(f"sqlite+aiosqlite:///{file}", default_retention_days=days)


@pytest.fixture
async def store(file: Path) -> AsyncIterator[SqlStore]:
    store = await opened(file)
    yield store
    await store.aclose()


class TestOpening:
    """A start succeeds, or says in words why not."""

    async def test_the_file_and_its_folder_are_made_for_the_owner_alone(self, store: SqlStore, file: Path) -> None:
        await ask(store, "1")
        assert oct(file.parent.stat().st_mode & 0o777) == "0o700"
        for one in file.parent.iterdir():
            assert oct(one.stat().st_mode & 0o777) == "0o600", one

    async def test_a_commit_survives_a_loss_of_power(self, store: SqlStore) -> None:
        async with store._engines.write.connect() as connection:
            names = ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "temp_store")
            found = {n: (await connection.exec_driver_sql(f"PRAGMA {n}")).scalar() for n in names}
        assert found == {
            "journal_mode": "wal",
            "synchronous": 2,
            "foreign_keys": 1,
            "secure_delete": 1,
            "temp_store": 2,
        }

    async def test_one_process_owns_the_file(self, store: SqlStore, file: Path) -> None:
        with pytest.raises(DatabaseError, match=rf"another Hearth process \(pid {os.getpid()}\) uses {file}"):
            await opened(file)
        await ask(store, "1")

    async def test_the_lock_of_another_process_holds_and_dies_with_it(self, file: Path) -> None:
        held = (
            "import asyncio, sys\n"
            "from storage.store import SqlStore\n"
            "async def main():\n"
            "    store = await SqlStore.open(sys.argv[1], default_retention_days=30)\n"
            "    print('open', flush=True)\n"
            "    await asyncio.sleep(600)\n"
            "    await store.aclose()\n"
            "asyncio.run(main())\n"
        )
        arguments = [sys.executable, "-c", held, f"sqlite+aiosqlite:///{file}"]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "open\n"
                with pytest.raises(DatabaseError, match=rf"\(pid {process.pid}\)"):
                    await opened(file)
            finally:
                process.kill()
        await (await opened(file)).aclose()

    async def test_the_answers_of_a_killed_process_are_due_at_once(self, file: Path) -> None:
        store = await opened(file)
        await ask(store, "1")
        await claimed(store, lease=3600)
        await store.aclose()
        store = await opened(file)
        again = await claimed(store)
        assert (again.event.event_id, again.attempt) == ("1", 2)
        await store.aclose()

    async def test_text_is_no_database(self, file: Path) -> None:
        file.parent.mkdir()
        file.write_text("this is a diary, not a database\n" * 500)
        with pytest.raises(DatabaseError, match="no SQLite database, or it is damaged"):
            await opened(file)
        assert file.read_text().startswith("this is a diary")

    async def test_a_damaged_page_is_told_and_not_hidden(self, file: Path) -> None:
        store = await opened(file)
        for number in range(50):
            await ask(store, str(number), "x" * 3000)
        await store.aclose()
        data = bytearray(file.read_bytes())
        data[4096 * 4 :] = os.urandom(len(data) - 4096 * 4)
        file.write_bytes(data)
        with pytest.raises(DatabaseError, match="damaged"):
            store = await opened(file)
            try:
                await ask(store, "100")
            finally:
                await store.aclose()

    async def test_the_database_of_another_program_is_left_alone(self, file: Path) -> None:
        file.parent.mkdir()
        with closing(sqlite3.connect(file)) as other:
            other.execute("CREATE TABLE recipes (name TEXT)")
        with pytest.raises(DatabaseError, match=r"another program \(it has a table 'recipes'\)"):
            await opened(file)
        with closing(sqlite3.connect(file)) as other:
            assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]

    async def test_a_later_schema_is_refused(self, file: Path) -> None:
        await (await opened(file)).aclose()
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(DatabaseError, match=r"its schema \(9999\) is that of a later version of Hearth"):
            await opened(file)

    async def test_a_place_that_cannot_be_written_to(self, tmp_path: Path) -> None:
        (tmp_path / "plain").write_text("")
        with pytest.raises(DatabaseError, match="cannot be opened for writing"):
            await opened(tmp_path / "plain" / "hearth.db")
        with pytest.raises(DatabaseError, match="cannot be opened for writing"):
            await opened(tmp_path)

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("sqlite+aiosqlite://", "in memory would forget"),
            ("mysql://localhost/hearth", "mysql is not supported"),
            ("postgresql+asyncpg://localhost/hearth", r"postgresql\+asyncpg is not supported"),
            ("hearth.db", "is no URL"),
        ],
    )
    async def test_other_urls_are_refused_in_words(self, url: str, words: str) -> None:
        with pytest.raises(DatabaseError, match=words):
            await SqlStore.open(url, default_retention_days=30)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes: what a full disk looks like to a program that writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestFullDisk:
    """What could not be written is told; what was, stays; and it goes on when there is room again."""

    async def test_nothing_is_half_written_and_the_caller_may_try_again(self, store: SqlStore, file: Path) -> None:
        await ask(store, "1", "before")
        with largest_file(file.with_name("hearth.db-wal").stat().st_size + 8192):
            with pytest.raises(DatabaseError, match="nothing of this was written"):
                await ask(store, "2", "x" * 100_000)
            assert (await ask(store, "1")).duplicate
        assert await store.pending() == 1
        assert (await ask(store, "2", "after")).work
        assert [(await answer(store))[0].event.text for _ in range(2)] == ["before", "after"]

    async def test_of_several_at_once_only_what_does_not_fit_fails(self, store: SqlStore, file: Path) -> None:
        await ask(store, "0")
        with largest_file(file.with_name("hearth.db-wal").stat().st_size + 150_000):
            big = [ask(store, f"big {n}", "x" * 200_000) for n in range(3)]
            small = [ask(store, f"small {n}") for n in range(2)]
            results = await asyncio.gather(*big, *small, return_exceptions=True)
        assert [isinstance(result, DatabaseError) for result in results] == [True, True, True, False, False]
        assert await store.pending() == 3


class TestBytes:
    """What was forgotten is in no byte of the data directory."""

    WORD = "xyzzy-plugh"

    async def test_after_forgetme_a_search_finds_nothing(self, store: SqlStore, file: Path) -> None:
        chance = random.Random(7)
        for number in range(120):
            await self._talk(store, number, chance)
        await ask(store, "waiting", f"{self.WORD} waits")
        await store.set_settings((await store.conversation(CHAT)).id, Settings(system_prompt=f"{self.WORD} is my name"))
        assert self._found(file)
        ben_before = await texts(store, (await store.conversation(GROUP)).head)
        readers = [asyncio.create_task(self._read(store)) for _ in range(8)]
        await store.forget_person("telegram", "ann")
        await store.forget_person("discord", "ann")
        assert self._found(file) == []
        await asyncio.gather(*readers)
        ben = [text for text in ben_before if self.WORD not in text]
        assert await texts(store, (await store.conversation(GROUP)).head) == ben
        await store.aclose()
        assert self._found(file) == []

    @pytest.mark.parametrize("days", [30, 0])
    async def test_nor_a_documents_words_and_name(self, file: Path, days: int) -> None:
        store = await opened(file, days=days)
        for number, size in enumerate((10, 3000, 300_000)):
            words = f"{self.WORD} {number} " + "x" * size
            note = replace(NOTES, name=f"{self.WORD}.txt", reference=self.WORD)
            received = await ask(store, str(number), attachments=(note, note))
            unread = Reading(number=1, content=None, unread=f"{self.WORD} is no text")
            await store.record_read(received.message or 0, [reading(words), unread])
            claim = await claimed(store)
            assert self._found(file)
            await store.close(claim, AnswerState.DONE, finished("well", claim.question.id))
        if days:
            assert self._found(file)
            await store.forget_person("telegram", "ann")
        assert self._found(file) == []
        await store.aclose()

    @pytest.mark.parametrize("seed", [15, 18])
    async def test_nor_where_rows_were_moved_between_pages(self, store: SqlStore, file: Path, seed: int) -> None:
        """SQLite zeroes what is removed, but not the places from which it had moved rows; these seeds make it move."""
        chance = random.Random(seed)
        asked = [self._question(number, chance) for number in range(100)]
        await asyncio.gather(*(store.receive(message, Triage.PENDING) for message in asked))
        changed = [
            edited("1", self._text(message.author, chance), key=message.key, by=message.author)
            for message in chance.sample(asked, 50)
        ]
        await asyncio.gather(*(store.receive(event, Triage.PENDING) for event in changed))
        claims = [claim for claim in await asyncio.gather(*(store.claim("w", lease=60) for _ in asked)) if claim]
        ends = [finished(self._text(claim.event.author, chance)[:900], claim.question.id) for claim in claims]
        await asyncio.gather(*(store.close(c, AnswerState.DONE, end) for c, end in zip(claims, ends, strict=True)))
        await store.forget_person("telegram", "ann")
        assert self._found(file) == []

    def _question(self, number: int, chance: random.Random) -> Message:
        author = BEN if chance.random() < 0.1 else ANN
        return said("1", self._text(author, chance), key=replace(CHAT, chat=str(number)), by=author)

    def _text(self, author: Author, chance: random.Random) -> str:
        return ("" if author == BEN else self.WORD + " ") + "x" * chance.choice((20, 300, 900, 2500))

    async def test_with_retention_0_nothing_is_found_after_the_answer(self, file: Path) -> None:
        store = await opened(file, days=0)
        await ask(store, "1", f"{self.WORD} " * 3000)
        claim = await claimed(store)
        await store.keep(claim, finished(f"{self.WORD} too", claim.question.id))
        assert self._found(file)
        await store.close(claim, AnswerState.DONE, finished(f"{self.WORD} too", claim.question.id))
        assert self._found(file) == []
        await store.aclose()

    async def test_the_word_about_forgetme_goes_too(self, store: SqlStore, file: Path) -> None:
        await ask(store, "1", f"/forgetme {self.WORD}")
        claim = await claimed(store)
        word = Finished(outcome=AnswerState.DONE, text=self.WORD, moves_head=False, erase=True)
        await store.keep(claim, word)
        await store.close(claim, AnswerState.DONE, word)
        assert self._found(file) == []

    @pytest.mark.parametrize("asked_here", [True, False])
    async def test_the_name_of_a_conversation_goes_too(self, store: SqlStore, file: Path, asked_here: bool) -> None:
        """Whoever asked for it: the person in that conversation, or the owner on the command line."""
        own = replace(CHAT, chat=self.WORD)
        await ask(store, "1", "one", key=own, direct=True)
        await answer(store)
        await ask(store, "2", "/forgetme", key=own, direct=True)
        claim = await claimed(store)
        await store.forget_person("telegram", "ann", but=claim.id if asked_here else None)
        if asked_here:
            assert self._found(file)
            word = Finished(outcome=AnswerState.DONE, text="Done.", moves_head=False, erase=True)
            await store.close(claim, AnswerState.DONE, word)
        assert self._found(file) == []
        for event_id in ("1", "2"):
            assert (await ask(store, event_id, key=own, direct=True)).duplicate
        assert (await ask(store, "3", key=own, direct=True)).work
        assert (await ask(store, "1", key=own, direct=True)).duplicate
        await store.forget_person("telegram", "ann")
        assert self._found(file) == []

    @pytest.mark.parametrize("way", ["forgetme", "delete", "retention"])
    async def test_nor_a_conversation_with_its_title(self, store: SqlStore, file: Path, way: str) -> None:
        """One in which something was said, and a new one that has its title already; Ben's stay."""
        # Of what was received, marks stay 90 days, without the name of a chat that was removed.
        own = replace(CHAT, chat="ann" if way == "retention" else self.WORD)
        keys = [replace(own, thread="one"), replace(own, thread="two"), CHAT]
        people = ("ann", "ann", "ben")
        places = [(await store.conversation(k, person=who)).id for k, who in zip(keys, people, strict=True)]
        for number in range(40):
            by = BEN if number % 2 else ANN
            text = "ben's " * 50 if number % 2 else f"{self.WORD} {number} " + "x" * 50 * number
            await ask(store, str(number), text, key=keys[2 if number % 2 else 0], by=by, direct=True)
            await answer(store, text)
            await store.set_title(places[0], f"{self.WORD} for the {number}th time")
        await store.set_title(places[1], f"{self.WORD} again")
        await store.set_title(places[2], "Ben's")
        await store.set_settings(places[2], Settings(retention_days=400))
        assert self._found(file)
        if way == "forgetme":
            await store.forget_person("telegram", "ann")
        elif way == "delete":
            for place in places[:2]:
                await store.delete_conversation(place)
        else:
            await store.expire(datetime.now(UTC) + timedelta(days=31), 30)
        assert self._found(file) == []
        kept = await store.find_conversation(keys[2])
        assert kept is not None
        assert kept.title == "Ben's"

    async def test_nor_a_title_alone(self, store: SqlStore, file: Path) -> None:
        await store.set_title((await store.conversation(CHAT, person="ann")).id, self.WORD)
        assert self._found(file)
        await store.expire(datetime.now(UTC) + timedelta(days=31), 30)
        assert self._found(file) == []

    async def test_another_program_that_reads_is_told_of(self, store: SqlStore, file: Path) -> None:
        await ask(store, "1", self.WORD)
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM messages").fetchone()
            with pytest.raises(DatabaseError, match="another program reads this database"):
                await store.forget_person("telegram", "ann")
            other.execute("COMMIT")
        await store.forget_person("telegram", "ann")
        assert self._found(file) == []

    async def _talk(self, store: SqlStore, number: int, chance: random.Random) -> None:
        """A question by Ann with all that can happen to it, and one by Ben."""
        long = self.WORD + " " + "".join(chance.choices("abcdefgh ", k=chance.choice((10, 500, 5000, 20_000))))
        key = chance.choice((CHAT, GROUP))
        await ask(store, f"a{number}", long, key=key)
        if chance.random() < 0.3:
            await store.receive(edited(f"a{number}", f"{self.WORD} edited {long}", key=key), Triage.PENDING)
        claim = await claimed(store)
        await store.keep(claim, finished(f"{self.WORD} said", claim.question.id))
        if chance.random() < 0.2:
            await store.receive(edited(f"a{number}", f"{self.WORD} again {long}", 9, key=key), Triage.PENDING)
            claim = await claimed(store)
        await send(store, claim, f"m{number}")
        await store.close(claim, AnswerState.DONE, finished(f"{self.WORD} said", claim.question.id))
        if chance.random() < 0.2:
            await store.receive(pressed(f"p{number}", ActionName.RETRY, f"m{number}", key=key), Triage.PENDING)
            claim = await claimed(store)
            await store.close(claim, AnswerState.DONE, finished(f"{self.WORD} anew", claim.question.id))
        await store.receive(said(f"b{number}", "from ben " * 50, key=GROUP, by=BEN), Triage.PENDING)
        await answer(store, "to ben")

    async def _read(self, store: SqlStore) -> None:
        for _ in range(50):
            await store.history((await store.conversation(GROUP)).head)

    def _found(self, file: Path) -> list[str]:
        return [one.name for one in file.parent.iterdir() if self.WORD.encode() in one.read_bytes()]


class TestBackup:
    """A copy of a database in use can be put back."""

    async def test_a_backup_is_whole_and_opens(self, store: SqlStore, tmp_path: Path) -> None:
        received = await ask(store, "1", "one", attachments=(NOTES,))
        await store.record_read(received.message or 0, [reading()])
        _, tip = await answer(store, "eins")
        target = tmp_path / "copy.db"
        target.write_text("an older backup")
        writing = [ask(store, f"w{n}") for n in range(50)]
        await asyncio.gather(store.backup(target), *writing)
        assert check_backup(target) == SCHEMA
        assert oct(target.stat().st_mode & 0o777) == "0o600"
        assert not target.with_name("copy.db.part").exists()
        copy = await opened(target)
        assert await texts(copy, tip) == ["one", "eins"]
        assert (await copy.history(tip))[0].attachments == (Attached(NOTES, WORDS),)
        assert (await ask(copy, "1")).duplicate
        await copy.aclose()

    async def test_a_backup_to_nowhere_is_told(self, store: SqlStore, tmp_path: Path) -> None:
        with pytest.raises(DatabaseError, match="No such file or directory"):
            await store.backup(tmp_path / "missing" / "copy.db")

    async def test_what_is_no_backup_is_refused(self, store: SqlStore, tmp_path: Path) -> None:
        with pytest.raises(DatabaseError, match="there is no such file"):
            check_backup(tmp_path / "missing.db")
        (tmp_path / "text.db").write_text("nothing of the kind\n" * 100)
        with pytest.raises(DatabaseError, match="no backup of Hearth"):
            check_backup(tmp_path / "text.db")
        await ask(store, "1", "x" * 100_000)
        await store.backup(tmp_path / "copy.db")
        whole = (tmp_path / "copy.db").read_bytes()
        (tmp_path / "copy.db").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DatabaseError, match="damaged"):
            check_backup(tmp_path / "copy.db")
