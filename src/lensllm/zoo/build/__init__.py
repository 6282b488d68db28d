"""How the zoo was made: `python -m lensllm.zoo.build` makes it again from nothing."""
