"""`tinygpt`: check and build data, train, generate, evaluate, compile, compare. Works with no service running."""

import typer

from tinygpt.commands import bench, data, generate, train
from tinygpt.commands import eval as evaluation
from tinygpt.commands.compile import compile_kernels

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
app.command("compile")(compile_kernels)
app.command(
    "bench",
    add_help_option=False,  # all arguments, --help too, are read in benchmarks/
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(bench.bench)
