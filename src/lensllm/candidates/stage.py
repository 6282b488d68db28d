"""A folder that holds what is read of a candidate and nothing else."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lensllm.candidates.candidate import Candidate
from lensllm.candidates.files import CONFIG, read_object, regular
from lensllm.candidates.steering import without_steering


@contextmanager
def staged(candidate: Candidate, *, weights: bool) -> Iterator[Path]:
    """A temporary folder from which `from_pretrained` can be called without reading anything unforeseen.

    It holds the configuration and the tokenizer's settings without the keys in `STEERING`, and links to the other
    files of `Candidate.files`. No Python file, adapter, processor or generation file is in it, and its path is
    plain text whatever the candidate's folder is called.

    Args:
        candidate: any.
        weights: whether the weights are linked, too.

    Raises:
        InputError: if one of the files may not be opened.
    """
    with tempfile.TemporaryDirectory(prefix="lensllm-") as made:
        folder = Path(made)
        for name in candidate.files:
            if name in (CONFIG, "tokenizer_config.json"):
                cleaned = without_steering(read_object(candidate.folder, name))
                (folder / name).write_text(json.dumps(cleaned))
            elif weights or ".safetensors" not in name:
                (folder / name).symlink_to(regular(candidate.folder, name))
        yield folder
