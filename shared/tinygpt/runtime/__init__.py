"""What every service needs around the model: settings, logs, Redis, the queue, runs, the volume. No torch."""
