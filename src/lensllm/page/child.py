"""The page of a selection that this process makes, served by another one, which slows no run down."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import Self

from lensllm.errors import InputError
from lensllm.page.serve import check_installed

PATIENCE = 10
"""Seconds that it has to tell the end to whoever looks."""


class PageProcess:
    """Serves the page of a folder as long as it is entered; it ends with this process, however that ends.

    Args:
        folder: of the selection, which need not have begun.

    Raises:
        InputError: if something that the page needs is not installed.
    """

    def __init__(self, folder: Path) -> None:
        check_installed()
        self._folder = folder

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lensllm.page", str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    @cached_property
    def address(self) -> str:
        """Of the page, with its token.

        Raises:
            InputError: if it could not be served.
        """
        assert self._process.stdout is not None
        address = self._process.stdout.readline().strip()
        if not address:
            raise InputError("the page could not be served: leave out --page, and look with lensllm page later")
        return address
