"""What is written is there whole or not at all."""

import os
import resource
import subprocess
import sys

import pytest

from lensllm.errors import InputError
from lensllm.files import write_whole


def test_a_text_is_replaced_whole(tmp_path):
    path = tmp_path / "a.txt"
    for text in ("one", "caf\u00e9 \udcff"):
        write_whole(path, text)
    assert path.read_text() == "caf\u00e9 \\udcff"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path):
    """A full disk, as a limit on the size of files shows it."""
    path = tmp_path / "a.txt"
    write_whole(path, "before")
    program = (
        "import resource, signal; from lensllm.errors import InputError; from lensllm.files import write_whole\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"try: write_whole({str(path)!r}, 'x' * 100000)\n"
        "except InputError as error: print(error)"
    )
    assert resource.RLIMIT_FSIZE >= 0
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout
    assert "a.txt cannot be written (File too large): free some space or name another place" in told
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"nowhere/a\.txt cannot be written"):
        write_whole(tmp_path / "nowhere" / "a.txt", "x")
