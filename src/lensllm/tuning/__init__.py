"""One fine-tuning run: data order, trainer, evaluation, FLOPs."""
