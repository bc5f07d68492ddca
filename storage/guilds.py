"""Guilds: what is set for all of one, and what of that holds in its conversations."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, delete, func, select, update

from bot.messages import GuildKey, GuildSettings, Settings
from storage.models import conversations, guilds
from storage.places import find_by_id
from storage.transaction import Scrub, Transaction, insert

_KEY = ("platform", "account", "guild")
_HERE = and_(*(guilds.c[name] == bindparam(f"k_{name}") for name in _KEY))
_READ = select(guilds).where(_HERE)
_REMOVE = delete(guilds).where(_HERE)
_ITS_DAYS = (
    select(guilds.c.retention_days)
    .where(*(guilds.c[name] == conversations.c[name] for name in _KEY))
    .correlate(conversations)
    .scalar_subquery()
)
_PLACES = (
    select(conversations.c.id)
    .where(*(conversations.c[name] == bindparam(f"k_{name}") for name in _KEY))
    .order_by(conversations.c.id)
)


def read(transaction: Transaction, key: GuildKey) -> GuildSettings:
    """See `bot.ports.Store.guild`."""
    row = transaction.execute(_READ, _at(key)).first()
    if row is None:
        return GuildSettings()
    settings = Settings(
        model=row.model,
        persona=row.persona,
        system_prompt=row.system_prompt,
        retention_days=row.retention_days,
        transcripts=row.transcripts,
    )
    return GuildSettings(settings=settings, trigger=row.trigger)


def write(transaction: Transaction, key: GuildKey, settings: GuildSettings) -> None:
    """See `bot.ports.Store.set_guild`."""
    if settings == GuildSettings():
        transaction.execute(_REMOVE, _at(key))
        return
    values = {**asdict(settings.settings), "trigger": settings.trigger}
    put = insert(transaction, guilds).on_conflict_do_update(index_elements=_KEY, set_=values)
    transaction.execute(put, {**{name: getattr(key, name) for name in _KEY}, **values})


def remove(transaction: Transaction, key: GuildKey) -> None:
    """What was set there goes."""
    transaction.scrub = max(transaction.scrub, Scrub.LOG)
    transaction.execute(_REMOVE, _at(key))


def places_of(transaction: Transaction, key: GuildKey) -> list[int]:
    """Its conversations, in an order in which two that lock them do not wait for each other."""
    return list(transaction.execute(_PLACES, _at(key)).scalars())


def belong(transaction: Transaction, place: Any, guild: str) -> Any:
    """Note the guild of a conversation, if it was not known or another one; returns the conversation as it is now."""
    if not guild or place.guild == guild:
        return place
    transaction.execute(update(conversations).where(conversations.c.id == place.id).values(guild=guild))
    return find_by_id(transaction, place.id)


def around(transaction: Transaction, place: Any) -> Settings:
    """What a conversation's guild says; nothing where it has none, and then nothing is looked up."""
    return (
        read(transaction, GuildKey(place.platform, place.account, place.guild)).settings if place.guild else Settings()
    )


def days_of(transaction: Transaction, place: Any) -> int:
    """For how many days a conversation's messages are kept."""
    own: int | None = place.retention_days
    if own is None:
        own = around(transaction, place).retention_days
    return transaction.default_days if own is None else own


def retention(default_days: int) -> ColumnElement[Any]:
    """The same in a statement about conversations."""
    return func.coalesce(conversations.c.retention_days, _ITS_DAYS, default_days)


def _at(key: GuildKey) -> dict[str, str]:
    return {f"k_{name}": getattr(key, name) for name in _KEY}
