"""`hearth keys`: create, list, revoke."""

from __future__ import annotations

import asyncio
import difflib
import os
import re
import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

import typer

from adapters.console.client import Client
from bot.api_door import new_secret
from bot.attaching import connected
from bot.config import Config, load
from bot.errors import ConfigError
from bot.tables import show

keys = typer.Typer(help="The keys with which programs use the API.", no_args_is_help=True)

MOST_REQUESTS, MOST_TOKENS = 10**6, 10**15
"""A minute and a day: above what any machine does."""
MOST_DAYS = 36_500

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DAYS = re.compile(r"(\d{1,6})d")
_MOMENT = timedelta(microseconds=1)
_DAY = timedelta(days=1)

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the key is called, for example website.")]


@keys.command("create")
def create(
    context: typer.Context,
    name: Name,
    *,
    organisation: Annotated[
        str, typer.Option("--organisation", help="What a request's OpenAI-Organization must be, if it has one.")
    ] = "",
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME", help="A model that it may use; may be given again. None: all."),
    ] = None,
    requests_per_minute: Annotated[int, typer.Option(min=0, max=MOST_REQUESTS, help="0: no limit.")] = 0,
    tokens_per_day: Annotated[
        int, typer.Option(min=0, max=MOST_TOKENS, help="Read and written, in a day of UTC. 0: no limit.")
    ] = 0,
    expires: Annotated[
        str, typer.Option(metavar="90d|2027-01-31", help="Its last day, in UTC, or so many days from today.")
    ] = "",
) -> None:
    """Make a key and print its secret: once, and alone on standard output. Nothing shows it again."""
    config, models = _read(context), list(dict.fromkeys(model or ()))
    check(config, name, organisation, models)
    values = {
        "name": name,
        "organisation": organisation,
        "models": models,
        "requests_per_minute": requests_per_minute,
        "tokens_per_day": tokens_per_day,
        "expires_at": end.isoformat() if (end := ends(expires, datetime.now(UTC))) else None,
    }
    secret = new_secret()

    async def add(client: Client) -> None:
        await client.add_api_key(secret, **values)

    asyncio.run(connected(config, add, answering=False))
    print(
        f"The key {name} is made. This is the only time that it is shown: keep it where secrets are kept.",
        file=sys.stderr,
    )
    print(secret)


@keys.command("list")
def show_list(context: typer.Context) -> None:
    """List the keys: whose they are, what they may, when they were used last."""

    async def tell(client: Client) -> None:
        known = await client.api_keys()
        if not known:
            print("There are no keys. hearth keys create NAME makes one.")
            return
        columns = ("name", "key", "organisation", "models", "requests/minute", "tokens/day", "made", "last day", "used")
        now = datetime.now(UTC)
        show((*columns, "state"), [_row(key, now) for key in known])

    asyncio.run(connected(_read(context), tell, answering=False))


@keys.command("revoke")
def revoke(context: typer.Context, name: Name) -> None:
    """Refuse a key from now on, for good."""
    config = _read(context)

    async def remove(client: Client) -> None:
        if await client.revoke_api_key(name) is None:
            raise ConfigError(_unknown(name, await client.api_keys()))
        later = " Other processes on this database know it within a minute." if config.shared_database else ""
        print(f"Revoked: {name}. It opens nothing any more.{later}")

    asyncio.run(connected(config, remove, answering=False))


def ends(text: str, now: datetime) -> datetime | None:
    """When a key ends that is good through its last day; None for no text. Raises ConfigError."""
    if not text:
        return None
    today = now.date()
    try:
        days = int(count[1]) if (count := _DAYS.fullmatch(text)) else (date.fromisoformat(text) - today).days
    except ValueError as error:
        raise ConfigError(
            f"--expires {text}: is neither a number of days, such as 90d, nor a day, such as 2027-01-31"
        ) from error
    if not 0 <= days <= MOST_DAYS:
        wrong = "is over" if days < 0 else "is too far away; leave it out for a key that does not end"
        raise ConfigError(f"--expires {text}: that day {wrong} (today is {today}, in UTC)")
    return datetime.combine(today, time(), UTC) + (days + 1) * _DAY


def check(config: Config, name: str, organisation: str, models: Iterable[str]) -> None:
    """Raises ConfigError for what a key cannot be."""
    for what, text in (("a key's name", name), ("an organisation", organisation or "x")):
        if not _NAME.fullmatch(text):
            raise ConfigError(
                f"{text!r}: {what} is 1 to 64 letters, digits, dots, hyphens and underscores, and begins with a "
                "letter or a digit"
            )
    if models:
        _check_models(config, models)


def _check_models(config: Config, models: Iterable[str]) -> None:
    """Raises ConfigError for what is no name of a model towards programs."""
    from bot.completions.names import Names  # the engines come with it, which takes a second

    names = [card.id for card in Names(config).cards()]
    for name in models:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            known = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
            raise ConfigError(f"--model {name}: there is no such model; {known}")


def _unknown(name: str, known: list[dict[str, Any]]) -> str:
    if any(key["name"] == name for key in known):
        return f"the key {name!r} was revoked already"
    names = [key["name"] for key in known if key["revoked_at"] is None]
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else "hearth keys list shows which there are"
    return f"there is no key {name!r}; {hint}"


def _row(key: dict[str, Any], now: datetime) -> tuple[str, ...]:
    expires = _time(key["expires_at"])
    used = _time(key["used_at"])
    state = "revoked" if key["revoked_at"] else "expired" if expires and expires <= now else "valid"
    return (
        key["name"],
        key["hint"],
        key["organisation"],
        ", ".join(key["models"]) or "all",
        str(key["requests_per_minute"] or ""),
        str(key["tokens_per_day"] or ""),
        f"{_time(key['created_at']):%Y-%m-%d}",
        f"{expires - _MOMENT:%Y-%m-%d}" if expires else "",
        f"{used:%Y-%m-%d %H:%M}" if used else "never",
        state,
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _read(context: typer.Context) -> Config:
    return load(context.obj, os.environ)
