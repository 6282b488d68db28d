"""Whether an exported configuration reaches the loss that was measured."""
