"""What every service needs around the model: settings, logs, metrics, the volume, the queue. No torch."""
