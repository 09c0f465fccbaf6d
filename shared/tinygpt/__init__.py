"""TinyGPT: a small GPT that turns a prompt into Python code, owned whole."""

__version__ = "0.1.0"
