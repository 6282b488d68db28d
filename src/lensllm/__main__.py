"""`python -m lensllm` is `lensllm`."""

from lensllm.cli import main

main()
