"""Where a measurement's numbers go: a JSON file beside the script that made them, or another one that is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lensllm.cli.common import finite


def write_numbers(result: dict[str, Any], file: str | Path | None) -> dict[str, Any]:
    """Write the numbers of a measurement as JSON; NaN and infinity become null.

    Args:
        result: the numbers.
        file: nothing is written if None.

    Returns:
        The numbers as JSON has them.
    """
    numbers = finite(result)
    if file is not None:
        Path(file).write_text(json.dumps(numbers, indent=1) + "\n")
    return numbers
