"""What hostile input does: tables of losses and stores, spoiled in many ways."""
