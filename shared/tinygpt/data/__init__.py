"""Rows, their validation, the tokenizer and supervised examples. No torch."""
