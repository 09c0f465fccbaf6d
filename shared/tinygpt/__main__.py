"""`python -m tinygpt`, and `torchrun -m tinygpt`."""

from tinygpt.cli import app

app(prog_name="tinygpt")
