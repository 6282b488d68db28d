"""Small pre-trained models and tasks that ship with the package."""
