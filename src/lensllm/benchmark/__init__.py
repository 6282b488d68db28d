"""Published and own curves, protocol, metrics, tables, figures."""
