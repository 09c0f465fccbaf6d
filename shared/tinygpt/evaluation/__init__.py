"""The judge: run generated code where it can do no harm, score it, and report."""
