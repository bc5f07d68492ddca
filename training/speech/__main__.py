"""Makes and measures the demo speech model: `python -m training.speech make FOLDER`, or `train`, `export`, `evaluate`."""

import argparse
import json
from pathlib import Path

STEPS = 6_900
SEED = 1


def main() -> None:
    """Reads the command line; each command imports only what it needs."""
    parser = argparse.ArgumentParser(prog="python -m training.speech", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, purpose in (("make", "train, export and evaluate"), ("train", "train, or go on training, in a folder")):
        command = commands.add_parser(name, help=purpose)
        command.add_argument("folder", type=Path)
        command.add_argument("--steps", type=int, default=STEPS)
        command.add_argument("--seed", type=int, default=SEED)
        command.add_argument("--threads", type=int, default=1)
    export = commands.add_parser("export", help="write a folder's checkpoint as a directory that faster-whisper loads")
    export.add_argument("folder", type=Path)
    export.add_argument("out", type=Path)
    evaluate = commands.add_parser("evaluate", help="measure such a directory through faster-whisper")
    evaluate.add_argument("model", type=Path)
    evaluate.add_argument("--count", type=int, default=100, help="recordings per row of the table")
    evaluate.add_argument("--vad", action="store_true", help="with voice activity detection first, as Hearth does")
    evaluate.add_argument("--json", type=Path, help="also write the figures here")
    _run(parser.parse_args())


def _run(arguments: argparse.Namespace) -> None:
    if arguments.command in ("make", "train"):
        from training.speech.train import run

        run(arguments.folder, arguments.steps, arguments.seed, arguments.threads)
    if arguments.command == "make":
        arguments.out = arguments.model = arguments.folder / "hearth-demo-speech"
        arguments.count, arguments.vad, arguments.json = 100, False, None
    if arguments.command in ("make", "export"):
        from training.speech.export import export

        export(arguments.folder, arguments.out)
    if arguments.command in ("make", "evaluate"):
        from training.speech.evaluate import evaluate

        table = evaluate(arguments.model, arguments.count, vad=arguments.vad)
        if arguments.json:
            arguments.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
