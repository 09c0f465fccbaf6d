"""Evaluation: run generated code in isolation, score it, and report."""
