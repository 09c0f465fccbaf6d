"""The training loop: batches, schedule, evaluation, best and last checkpoints."""
