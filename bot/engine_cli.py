"""`hearth engine`: what the engines on a GPU need before they can answer."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from bot.config import load

engine = typer.Typer(help="Prepare the engines that run on a GPU.", no_args_is_help=True)


@engine.command("build")
def build(
    context: typer.Context,
    library: Annotated[
        str, typer.Argument(help="exllamav2 or exllamav3; left out: what the configured models need.")
    ] = "",
) -> None:
    """Compile the GPU code now, and not at the first start: tens of minutes on a small machine."""
    from bot.engines.exllama import build as building
    from bot.engines.exllama.weights import look

    if library not in ("", *building.MODULES):
        raise typer.BadParameter(f"{library!r} is none of: {', '.join(building.MODULES)}")
    config = load(context.obj, os.environ)
    folders = [model for model in config.own_models.values() if model.path.is_dir()]
    needed = {look(model.path).library(model.gpu.library) for model in folders}
    chosen = [name for name in building.MODULES if name == library or (not library and name in needed)]
    if not chosen:
        print("No model folder is configured: there is nothing to compile (docs/gpu.md).")
    for name in chosen:
        if building.is_ready(name):
            print(f"{name} is compiled already.")
            continue
        print(f"Compiling {name}, {building.expected(name)} ...", flush=True)
        print(f"{name} is compiled; it took {building.build(name):.0f} s.")
