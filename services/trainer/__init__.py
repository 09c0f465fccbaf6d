"""The trainer: an RQ worker that runs training jobs and writes checkpoints to the volume."""
