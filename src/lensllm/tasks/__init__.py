"""What the user brings: read, normalise, split, nested subsets, tokenise and mask, bytes per example."""
