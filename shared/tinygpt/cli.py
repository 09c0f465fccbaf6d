"""`tinygpt`: check and build data, train, generate, evaluate. Works with no service running."""

import typer

from tinygpt.commands import data, generate, train
from tinygpt.commands import eval as evaluation

app = typer.Typer(
    help="A small GPT that turns a prompt into Python code: check your rows, train, generate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data", help="Look at datasets.", no_args_is_help=True)
app.command("train")(train.train)
app.command("generate")(generate.generate)
app.command("eval")(evaluation.evaluate)
