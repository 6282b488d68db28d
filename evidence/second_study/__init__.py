"""The second study: methods compete with models, with scores beside losses (docs/second-study.md)."""
