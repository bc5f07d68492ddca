"""The port `ApiStore` over SQLite or PostgreSQL: a part of SqlStore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from bot.api import ApiUse, Kept, Key
from storage import api_kept, api_keys, api_usage
from storage.api_keys import MINUTE
from storage.known import Known
from storage.transaction import Transactions
from storage.values import DAY


class SqlApiStore:
    """See `bot.api.ApiStore`. `lasts`: seconds for which is known what another process may change."""

    def __init__(self, transactions: Transactions, lasts: float) -> None:
        self._transactions = transactions
        self._keys: Known[bytes, Key] = Known(lasts)
        """By their digests. What is no key is not remembered: there is no end to that."""
        self._any: Known[str, bool] = Known(lasts)
        self._used: dict[int, int] = {}
        """The minute that was last noted of each key."""
        self._users = api_usage.Users()

    async def add_key(
        self,
        secret: str,
        *,
        name: str,
        organisation: str = "",
        models: Sequence[str] = (),
        requests_per_minute: int = 0,
        tokens_per_day: int = 0,
        expires_at: datetime | None = None,
    ) -> Key:
        """See `bot.api.ApiStore`."""
        add = partial(
            api_keys.add,
            secret=secret,
            name=name,
            organisation=organisation,
            models=tuple(models),
            requests_per_minute=requests_per_minute,
            tokens_per_day=tokens_per_day,
            expires_at=expires_at,
        )
        try:
            return await self._transactions.write(add)
        finally:
            self._any.forget("")

    async def keys(self) -> list[Key]:
        """See `bot.api.ApiStore`."""
        return await self._transactions.read(api_keys.every)

    async def revoke_key(self, name: str) -> Key | None:
        """See `bot.api.ApiStore`."""
        try:
            return await self._transactions.write(lambda t: api_keys.revoke(t, name))
        finally:  # whether it was revoked is not known after every error
            self._keys.forget_all()

    async def find_key(self, secret: str) -> Key | None:
        """See `bot.api.ApiStore`."""
        digest = api_keys.digest_of(secret)
        if digest in self._keys:
            return self._keys[digest]
        forgotten = self._keys.forgotten
        found = await self._transactions.read(lambda t: api_keys.find(t, digest))
        if found is not None:
            self._keys.note(digest, found, forgotten)
        return found

    async def has_keys(self) -> bool:
        """See `bot.api.ApiStore`."""
        if "" not in self._any:
            forgotten = self._any.forgotten
            found = await self._transactions.read(api_keys.there_are)
            self._any.note("", found, forgotten)
            return found
        return self._any[""]

    async def note_key_use(self, key: int) -> None:
        """See `bot.api.ApiStore`."""
        minute, before = self._transactions.now() // MINUTE, self._used.get(key)
        if before == minute:
            return
        self._used[key] = minute
        try:
            await self._transactions.write(lambda t: api_keys.note_use(t, key, minute))
        except BaseException:
            self._used.pop(key, None)
            raise

    async def count_api_use(self, use: ApiUse) -> None:
        """See `bot.api.ApiStore`."""
        user = self._users.name(use.caller.id, use.user, self._transactions.now() // DAY)
        await self._transactions.write(lambda t: api_usage.count(t, use, user))

    async def api_tokens_today(self, caller: str) -> int:
        """See `bot.api.ApiStore`."""
        return await self._transactions.read(lambda t: api_usage.tokens_today(t, caller))

    async def api_usage(self, *, caller: str | None = None) -> list[dict[str, object]]:
        """See `bot.api.ApiStore`."""
        return await self._transactions.read(lambda t: api_usage.by_day(t, caller))

    async def keep_completion(self, kept: Kept) -> None:
        """See `bot.api.ApiStore`."""
        await self._transactions.write(lambda t: api_kept.keep(t, kept))

    async def kept_completion(self, id: str, *, caller: str) -> Kept | None:  # noqa: A002 - as the API calls it
        """See `bot.api.ApiStore`."""
        return await self._transactions.read(lambda t: api_kept.find(t, id, caller))

    async def kept_completions(
        self,
        *,
        caller: str,
        after: str | None = None,
        limit: int = 20,
        newest_first: bool = False,
        model: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> tuple[list[Kept], bool]:
        """See `bot.api.ApiStore`."""
        page = partial(
            api_kept.page,
            caller=caller,
            after=after,
            limit=limit,
            newest_first=newest_first,
            model=model,
            metadata=metadata,
        )
        return await self._transactions.read(page)

    async def change_metadata(self, id: str, metadata: Mapping[str, str], *, caller: str) -> Kept | None:  # noqa: A002
        """See `bot.api.ApiStore`."""
        return await self._transactions.write(lambda t: api_kept.change_metadata(t, id, metadata, caller))

    async def drop_completion(self, id: str, *, caller: str) -> bool:  # noqa: A002
        """See `bot.api.ApiStore`."""
        return await self._transactions.write(lambda t: api_kept.drop(t, id, caller))
