"""Makes and measures the demo chat model: `python -m training.chat train OUT`, `gguf`, `evaluate`."""

import argparse
import json
from pathlib import Path

# 30 CPU minutes, measured on one thread of a server CPU with AMX that other work shared.
STEPS = 2600
SEED = 1


def main() -> None:
    """Reads the command line; each command imports only what it needs."""
    parser = argparse.ArgumentParser(prog="python -m training.chat", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train from nothing and write a Hugging Face folder")
    train.add_argument("folder", type=Path)
    train.add_argument("--steps", type=int, default=STEPS)
    train.add_argument("--seed", type=int, default=SEED)
    gguf = commands.add_parser("gguf", help="write a Hugging Face folder as one GGUF file")
    gguf.add_argument("folder", type=Path)
    gguf.add_argument("out", type=Path)
    gguf.add_argument("--type", default="q8_0", choices=("f32", "f16", "q8_0", "q4_0"))
    evaluate = commands.add_parser("evaluate", help="measure a GGUF file; the folder gives its tokenizer")
    evaluate.add_argument("folder", type=Path)
    evaluate.add_argument("model", type=Path)
    evaluate.add_argument("--count", type=int, default=40, help="cases per kind")
    evaluate.add_argument("--json", type=Path, help="also write the figures here")
    _run(parser.parse_args())


def _run(arguments: argparse.Namespace) -> None:
    if arguments.command == "train":
        from training.chat.train import run

        run(arguments.folder, arguments.steps, arguments.seed)
    elif arguments.command == "gguf":
        from training.chat.to_gguf import write_gguf

        write_gguf(arguments.folder, arguments.out, arguments.type)
    else:
        from training.chat.evaluate import Engine, evaluate

        table = evaluate(Engine(arguments.model, arguments.folder / "tokenizer.json"), arguments.count)
        if arguments.json:
            arguments.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
