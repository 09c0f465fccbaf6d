"""The report as tables for a terminal."""

from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tinygpt.evaluation.report import EvaluationReport, Group

MAX_FAMILIES = 15
MAX_EXAMPLES = 5
_MAX_NAME_WIDTH = 27
_LEGEND = (
    "In percent. Model alone: pass@k; parse: complete Python; exact: the expected syntax tree; memo: memorised (the "
    "code of the nearest training prompt). Whole system: sys: pass@1; retr: answered by retrieval; none: no answer."
)


def render_tables(report: EvaluationReport) -> Iterator[RenderableType]:
    """What to print: scores of all rows, splits and topics, the families that fail most, and a few failing rows."""
    yield _table("", [report.overall, *report.by_split], report)
    yield Text(_LEGEND)
    if report.by_topic:
        yield _table("By topic", report.by_topic, report)
    worst = sorted(
        (group for group in report.by_family if group.model.pass_at_1 < 1), key=lambda group: group.model.pass_at_1
    )
    if worst:
        yield _table(f"Families, worst first ({len(worst)} below 100 %)", worst[:MAX_FAMILIES], report)
    failures = report.failures()
    if failures:
        yield _examples(report)
    if report.broken_rows or report.rows_without_check:
        yield Text(
            f"Left out: {report.rows_without_check:,} rows without a check, and "
            f"{len(report.broken_rows):,} rows whose own code fails its check on this machine."
        )
    yield Text(f"Generated code was isolated by: {', '.join(report.sandbox_layers)}.")


def _table(title: str, groups: list[Group], report: EvaluationReport) -> Table:
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True, max_width=_MAX_NAME_WIDTH)
    ks = list(report.overall.model.pass_at_k)
    for heading in ["rows", *(f"pass\n@{k}" for k in ks), "parse", "exact", "memo"]:
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ["sys\n@1", "retr", "none"]:
        table.add_column(heading, justify="right", style="dim", no_wrap=True)
    for group in groups:
        model, system = group.model, group.system
        shares = [*(model.pass_at_k[k] for k in ks), model.parse_rate, model.exact_match]
        shares += [group.novelty.memorised_rows / max(1, group.rows)]
        shares += [system.pass_at_1, system.retrieval_share, system.unanswered_share]
        table.add_row(escape(group.name), f"{group.rows:,}", *(_percent(share) for share in shares))
    return table


def _percent(share: float) -> str:
    return "100" if share == 1 else f"{100 * share:.1f}"


def _examples(report: EvaluationReport) -> Table:
    failures = report.failures()
    table = Table(title=f"Some of the {len(failures):,} failing rows", title_justify="left", show_lines=True)
    for heading in ("prompt", "expected", "model alone", "why"):
        table.add_column(heading, overflow="fold", ratio=1)
    for outcome in failures[:: max(1, len(failures) // MAX_EXAMPLES)][:MAX_EXAMPLES]:
        table.add_row(
            Text(outcome.prompt), Text(outcome.expected), Text(outcome.model.code), Text(outcome.model.reason)
        )
    return table
