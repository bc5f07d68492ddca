"""Six generations of OpenAI's SDK, each in an environment of its own that `make sdks` makes."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".venv" / "sdk"
SECONDS = 240
"""For all calls of one SDK, which take a few: nothing is measured."""


@dataclass(frozen=True)
class Sdk:
    """One of them."""

    language: str
    version: str
    driver: str
    """The program under drivers/ that makes the calls of a plan."""

    @property
    def name(self) -> str:
        """As test ids show it."""
        return f"{self.language}-{self.version}"

    @property
    def folder(self) -> Path:
        """Its environment."""
        return ENVIRONMENTS / self.name

    @property
    def program(self) -> Path:
        """What runs its programs."""
        if not (self.folder / ".made").exists():
            raise RuntimeError(f"{self.folder} is not there: `make sdks` makes it")
        return (self.folder if self.language == "python" else ENVIRONMENTS / "node") / "bin" / self.language

    @property
    def major(self) -> int:
        """Its generation."""
        return int(self.version.partition(".")[0])

    def run(self, file: Path, *arguments: str, folder: Path, **environ: str) -> str:
        """What a program prints that must succeed. It sees no setting of this machine but the path."""
        found = subprocess.run(
            [self.program, file, *arguments],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), **environ},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert found.returncode == 0, f"{self.name} {file.name}: {found.stdout[-2000:]}\n{found.stderr[-4000:]}"
        return found.stdout

    def carry_out(self, plan: dict[str, Any], folder: Path) -> dict[str, Any]:
        """What became of each call of a plan, by the call's name. The folder is the program's own."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.language == "node":
            at_hand = folder / "node_modules"
            if not at_hand.exists():
                at_hand.symlink_to(self.folder / "node_modules")
        (folder / "plan.json").write_text(json.dumps(plan), "utf-8")
        driver = folder / self.driver
        driver.write_bytes((HERE / "drivers" / self.driver).read_bytes())
        self.run(driver, "plan.json", "results.json", folder=folder)
        results: dict[str, Any] = json.loads((folder / "results.json").read_text("utf-8"))
        return results


PYTHON_0 = Sdk("python", "0.28.1", "python_0.py")
PYTHON_1 = Sdk("python", "1.3.5", "python_1.py")
PYTHON_3 = Sdk("python", "3.52.0", "python_1.py")
NODE_3 = Sdk("node", "3.3.0", "node_3.cjs")
NODE_4 = Sdk("node", "4.20.1", "node_4.cjs")
NODE_7 = Sdk("node", "7.55.0", "node_4.cjs")
SDKS = (PYTHON_0, PYTHON_1, PYTHON_3, NODE_3, NODE_4, NODE_7)
