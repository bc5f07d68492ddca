"""What an exception that came out of a step on the GPU means for those who wait."""

from __future__ import annotations

from enum import Enum, auto


class Failure(Enum):
    """What is to be done."""

    MEMORY = auto()
    """The GPU's memory was not enough: the generator is built again, smaller."""
    FATAL = auto()
    """The GPU's context is lost; whatever this process still asks of it fails as well."""
    STEP = auto()
    """Anything else: the generator is built again, because its tables may be half written."""


_MEMORY = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "Insufficient VRAM")
_FATAL = (
    *("CUDA error", "CUDA driver error", "CUBLAS_STATUS_EXECUTION_FAILED", "CUBLAS_STATUS_INTERNAL_ERROR"),
    *("illegal memory access", "device-side assert", "unspecified launch failure", "misaligned address"),
)


def failure_of(error: BaseException) -> Failure:
    """By the error's type and words: torch has no types for most of these. Memory first: its words may name CUDA too."""
    words = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return Failure.MEMORY
    if any(sign in words for sign in _MEMORY):
        return Failure.MEMORY
    if type(error).__name__ == "AcceleratorError" or any(sign in words for sign in _FATAL):
        return Failure.FATAL
    return Failure.STEP


def one_line(error: BaseException) -> str:
    """An error in one line: compilers and torch write whole pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    words = lines[0] if lines else ""
    return f"{type(error).__name__}: {words}"[:300] if words else type(error).__name__
