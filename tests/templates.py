"""Real chat templates and vocabularies: those in the source distribution of xllamacpp, fetched once into `.cache/`.

The source distribution carries llama.cpp's `models/` folder. pip wants a package's metadata even when it only
downloads, and this package's build backend needs compilers for that; so pip is given a stand-in backend, which
writes the name and the version and nothing else.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

_PACKAGE = "xllamacpp"
_CACHE = Path(__file__).parent.parent / ".cache"
_BACKEND = """
from pathlib import Path

def get_requires_for_build_wheel(config_settings=None):
    return []

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    folder = Path(metadata_directory, "{name}-{version}.dist-info")
    folder.mkdir()
    folder.joinpath("METADATA").write_text("Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
    return folder.name
"""


@cache
def models_folder() -> Path:
    """llama.cpp's `models/`: `templates/*.jinja` and `ggml-vocab-*.gguf`. Raises if it cannot be fetched."""
    release = version(_PACKAGE)
    target = _CACHE / f"{_PACKAGE}-{release}-models"
    _CACHE.mkdir(exist_ok=True)
    with (_CACHE / f"{_PACKAGE}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
                _extract(_download(release, Path(scratch)), Path(scratch, "models"))
                Path(scratch, "models").rename(target)
    return target


def template(name: str) -> str:
    """The source of one of the templates, by its file name without the ending."""
    return (models_folder() / "templates" / f"{name}.jinja").read_text(encoding="utf-8")


def template_names() -> list[str]:
    """All of them."""
    return sorted(path.stem for path in (models_folder() / "templates").glob("*.jinja"))


def vocabulary_file(name: str) -> Path:
    """A vocabulary-only GGUF, by the name in `ggml-vocab-<name>.gguf`."""
    return models_folder() / f"ggml-vocab-{name}.gguf"


def _download(release: str, folder: Path) -> Path:
    backend = folder / "backend" / "setuptools"
    backend.mkdir(parents=True)
    (backend / "__init__.py").touch()
    (backend / "build_meta.py").write_text(_BACKEND.format(name=_PACKAGE, version=release))
    command = [sys.executable, "-m", "pip", "download", "--no-binary", ":all:", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--quiet", "--dest", str(folder), f"{_PACKAGE}=={release}"],
        env={**os.environ, "PYTHONPATH": str(backend.parent)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    archives = list(folder.glob("*.tar.gz"))
    if not archives:
        raise RuntimeError(f"pip could not download the source distribution of {_PACKAGE} {release}:\n{done.stderr}")
    return archives[0]


def _extract(archive: Path, target: Path) -> None:
    (target / "templates").mkdir(parents=True)
    with tarfile.open(archive) as files:
        for member in files:
            name = Path(member.name)
            if not member.isfile() or "models" not in name.parts:
                continue
            if name.suffix == ".jinja" and name.parent.name == "templates":
                place = target / "templates" / name.name
            elif name.suffix == ".gguf" and name.parent.name == "models":
                place = target / name.name
            else:
                continue
            with place.open("wb") as copy:
                shutil.copyfileobj(files.extractfile(member), copy)  # type: ignore[arg-type]
