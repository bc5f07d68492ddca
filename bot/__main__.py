"""The command line: `hearth COMMAND`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from adapters.console.client import Client
from adapters.console.files import path_of
from adapters.console.socket import answers
from bot import loop
from bot.attaching import connected
from bot.cleaning import clean
from bot.config import Config, load
from bot.engine_cli import engine
from bot.errors import ConfigError, HearthError
from bot.keys_cli import keys
from bot.models_cli import models
from bot.transcribe_cli import transcribe

T = TypeVar("T")

cli = typer.Typer(
    help="Hearth: a self-hosted chat assistant with the model inside its own process.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
db = typer.Typer(help="Back up and restore the database.", no_args_is_help=True)
cli.add_typer(db, name="db")
cli.add_typer(models, name="models")
cli.add_typer(engine, name="engine")
cli.add_typer(keys, name="keys")
cli.command()(transcribe)


def _cleaned(value: str) -> str:
    return clean(value)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"hearth {version('hearth')}")
        raise typer.Exit


Conversation = Annotated[str, typer.Option("--conversation", "-c", help="The conversation's name.", callback=_cleaned)]
Person = Annotated[
    str, typer.Argument(help="PLATFORM:ID, as in the permissions, for example console:ada.", callback=_cleaned)
]


@cli.callback()
def _options(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="The configuration file.")] = None,
    _: Annotated[
        bool, typer.Option("--version", help="Show the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    context.obj = config


@cli.command()
def run(context: typer.Context) -> None:
    """Start what is configured, and serve until SIGTERM or Ctrl-C. SIGHUP reads personas, permissions and limits again."""
    loop.serve(_serve(context.obj))


@cli.command()
def chat(context: typer.Context, conversation: Conversation = "default") -> None:
    """Talk in the terminal. Lines from a pipe are answered one after the other."""
    from adapters.console.terminal import converse

    async def talk(client: Client) -> None:
        await converse(client, conversation)

    _run(connected(_read(context), talk, preload=True))


@cli.command()
def say(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="What to say; - reads it from standard input.")],
    conversation: Conversation = "default",
    file: Annotated[
        list[Path] | None, typer.Option(metavar="PATH", help="A file to send with it; may be given again.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say one thing, print the answer, and leave: with 0, or with 1 if the answer failed."""
    words = sys.stdin.read() if text == "-" else text
    sent = [path_of(path) for path in file or ()]

    async def ask(client: Client) -> bool:
        states = [state async for state in client.ask(conversation, words, sent)]
        last = states[-1]
        received = [each for state in states for each in state["files"]]
        if as_json:
            told = {"conversation": conversation, "text": last["text"], "failed": last["failed"], "files": received}
            print(json.dumps(told, ensure_ascii=False))
            return bool(last["failed"])
        from adapters.console.terminal import printable, save

        print(printable(last["text"]) if sys.stdout.isatty() else last["text"])
        for each in received:
            print(f"[{save(each, Path.cwd())}]")
        return bool(last["failed"])

    if _run(connected(_read(context), ask, preload=not words.lstrip().startswith("/"))):
        raise typer.Exit(1)


@cli.command()
def check(
    context: typer.Context,
    what: Annotated[str, typer.Argument(help="Tell of this alone: telegram, database, model ...")] = "",
) -> None:
    """Tell what would work and what would not; exit with 1 if something would not."""
    from bot.check import inspect, table

    config = _read(context)
    every = asyncio.run(inspect(config))
    findings = [finding for finding in every if finding.what.lower().startswith(what.lower())]
    if not findings:
        raise typer.BadParameter(f"{what!r} is none of: {', '.join(finding.what for finding in every)}")
    table(findings)
    raise typer.Exit(0 if all(finding.good for finding in findings) else 1)


@cli.command()
def usage(context: typer.Context) -> None:
    """Show messages and tokens by day and model; of the API by day, key, user and model."""

    async def tell(client: Client) -> None:
        from bot.tables import show

        counts = {"of conversations": await client.usage(), "of the API": await client.api_usage()}
        for what, rows in counts.items():
            if rows:
                print(f"Used {what}:")
                show([name.replace("_", " ") for name in rows[0]], [[str(one) for one in row.values()] for row in rows])
        if not any(counts.values()):
            print("Nothing has been used yet.")

    _run(connected(_read(context), tell, answering=False))


@cli.command()
def export(context: typer.Context, person: Person) -> None:
    """Print everything of one person as JSON."""
    platform, author = _person(person)

    async def show(client: Client) -> None:
        print(json.dumps(await client.export(platform, author), ensure_ascii=False, indent=2))

    _run(connected(_read(context), show, answering=False))


@cli.command()
def forget(context: typer.Context, person: Person) -> None:
    """Remove everything of one person."""
    platform, author = _person(person)

    async def remove(client: Client) -> None:
        gone = await client.forget(platform, author)
        print(f"Removed: {gone['messages']} messages and {gone['answers']} answers.")

    _run(connected(_read(context), remove, answering=False))


@db.command()
def backup(context: typer.Context, target: Path) -> None:
    """Write a consistent copy of the SQLite database, also while Hearth runs."""
    if target.exists():
        raise typer.BadParameter(f"{target} exists; choose a new name")

    async def write(client: Client) -> None:
        await client.backup(target.absolute())
        print(f"Written: {target}")

    _run(connected(_read(context), write, answering=False))


@db.command()
def restore(
    context: typer.Context,
    source: Path,
    yes: Annotated[bool, typer.Option("--yes", help="Replace the database that is there.")] = False,
) -> None:
    """Put a backup in the database's place. Hearth must not be running."""
    from storage.backup import restore as put_back

    config = _read(context)

    async def replace() -> None:
        if await answers(config.socket):
            raise ConfigError("Hearth is running on this data directory. Stop it first.")
        await put_back(source, config.database_url, replace=yes)
        print(f"Restored from {source}.")

    _run(replace())


async def _serve(path: Path | None) -> None:
    from bot.app import configure_logging, running
    from bot.recent import LastErrors

    config, errors = load(path, os.environ), LastErrors()
    configure_logging(config.log, errors=errors)
    async with running(config, reload=lambda: load(path, os.environ), errors=errors) as app:
        here, done = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            here.add_signal_handler(number, done.set)
        here.add_signal_handler(signal.SIGHUP, app.reload)
        where = f"at {app.page.address}" if app.page else "with `hearth chat`"
        print(f"Hearth is ready. Talk to it {where}; its data is in {config.data_dir}.", flush=True)
        if app.page and (about := await app.page.about_programs()):
            print(about, flush=True)
        loop.settle()
        await done.wait()
        print("Stopping: answers in progress are finished, the rest waits for the next start.", flush=True)


def _read(context: typer.Context) -> Config:
    return load(context.obj, os.environ)


def _person(text: str) -> tuple[str, str]:
    platform, found, author = text.partition(":")
    if not (platform and found and author):
        raise typer.BadParameter(f"{text!r} is not PLATFORM:ID, for example console:ada")
    return platform, author


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def main() -> None:
    """Run the command line; an error of Hearth's own is one line and exit code 1."""
    try:
        try:
            cli()
        finally:
            sys.stdout.flush()
    except (HearthError, BrokenPipeError, BaseExceptionGroup) as error:
        known, others = _sorted(error)
        if not all(isinstance(leaf, BrokenPipeError) for leaf in others):
            raise
        if others:
            # Who read the output has gone (`| head`): https://docs.python.org/3/library/signal.html#note-on-sigpipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        for words in dict.fromkeys(str(leaf) for leaf in known):
            print(f"hearth: {words}", file=sys.stderr)
        sys.exit(1)


def _sorted(error: BaseException) -> tuple[list[HearthError], list[BaseException]]:
    """The errors in a group of errors: those with words for the user, and the others."""
    if isinstance(error, HearthError):
        return [error], []
    if not isinstance(error, BaseExceptionGroup):
        return [], [error]
    parts = [_sorted(inner) for inner in error.exceptions]
    return [leaf for known, _ in parts for leaf in known], [leaf for _, others in parts for leaf in others]


if __name__ == "__main__":
    main()
