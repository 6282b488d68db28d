"""How fast fits, decisions and training are."""
