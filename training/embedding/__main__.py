"""Makes and measures the embedded embedding model: `python -m training.embedding train DICTIONARY OUT`, `gguf`, `evaluate`."""

import argparse
import json
from pathlib import Path

STEPS = 1000
SEED = 1


def main() -> None:
    """Reads the command line; each command imports only what it needs."""
    parser = argparse.ArgumentParser(prog="python -m training.embedding", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train from nothing")
    train.add_argument("dictionary", type=Path, help="the folder with WordNet's data.noun and so on")
    train.add_argument("folder", type=Path)
    train.add_argument("--steps", type=int, default=STEPS)
    train.add_argument("--seed", type=int, default=SEED)
    gguf = commands.add_parser("gguf", help="write what was trained as one GGUF file")
    gguf.add_argument("folder", type=Path)
    gguf.add_argument("out", type=Path)
    gguf.add_argument("--type", default="q8_0", choices=("f32", "f16", "q8_0"))
    evaluate = commands.add_parser("evaluate", help="measure a GGUF file, and a bag of words beside it")
    evaluate.add_argument("dictionary", type=Path)
    evaluate.add_argument("model", type=Path)
    evaluate.add_argument("--json", type=Path, help="also write the figures here")
    _run(parser.parse_args())


def _run(arguments: argparse.Namespace) -> None:
    if arguments.command == "train":
        from training.embedding.train import run

        run(arguments.dictionary, Path(), arguments.folder, arguments.steps, arguments.seed)
    elif arguments.command == "gguf":
        from training.embedding.to_gguf import write_gguf

        write_gguf(arguments.folder, arguments.out, arguments.type)
    else:
        from training.embedding.evaluate import evaluate

        table = evaluate(arguments.dictionary, arguments.model)
        if arguments.json:
            arguments.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
