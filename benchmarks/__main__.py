"""`python -m benchmarks [NAME ...]`: every benchmark, or the named ones, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.report import describe_machine

NAMES = ("own_time", "prefix", "throughput", "loop_lag", "start", "page", "voice", "telegram", "discord", "api")


def main(wanted: list[str]) -> int:
    """Run them; 1 if one could not be run, 2 for a name that there is none of. A missed aim is a figure, no failure."""
    if unknown := [name for name in wanted if name not in NAMES]:
        print(f"There is no benchmark {unknown[0]!r}. There are: {', '.join(NAMES)}.", file=sys.stderr)
        return 2
    print(describe_machine(), end="\n\n", flush=True)
    failed = []
    for name in wanted or NAMES:
        began = time.monotonic()
        code = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
        print(f"({name}: {time.monotonic() - began:.0f} s)\n", flush=True)
        if code:
            failed.append(name)
    if failed:
        print(f"Could not be run: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
