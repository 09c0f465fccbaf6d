"""The gateway: the only door for clients. Admission, deadlines, retries, runs, datasets, readiness. No torch."""
