"""Search of hyperparameters."""
