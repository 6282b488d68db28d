"""From the models that the hub lists to a few that are worth a selection."""
