"""On an NVIDIA GPU, with the libraries installed: `pytest -m gpu`. The figures are benchmarks.gpu's."""

from __future__ import annotations

from typing import Literal

import pytest

from benchmarks import gpu_checks, gpu_models
from bot.config import ModelConfig
from bot.engines.exllama import device, report
from bot.errors import NoGpu

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(7200),  # what is not compiled yet is compiled
    pytest.mark.parametrize("library", ["exllamav2", "exllamav3"]),
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture(autouse=True)
def there(library: str) -> None:
    try:
        device.installed(library)
        device.cards(device.torch_with_gpu(), library)
    except NoGpu as error:
        pytest.skip(str(error))


async def test_the_library_is_right_on_this_gpu(library: Literal["exllamav2", "exllamav3"]) -> None:
    """Answers, caches, guesses, seeds, memory, and the attack bank."""
    table = await gpu_checks.table(library)
    print(table)
    assert not [row.what for row in table.rows if row.verdict == "NO" or row.figures == ("NO",)]


def test_the_gpu_and_the_model_are_told_of(library: str) -> None:
    assert library in report.gpu()
    assert "fits with a context of 2048" in report.model(ModelConfig(path=gpu_models.DEMO))
