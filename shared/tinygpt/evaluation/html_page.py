"""The report as one HTML file, without scripts or links to other files, in light and dark."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from tinygpt.evaluation.bar_chart import Bar, BarRow, bar_chart
from tinygpt.evaluation.html_page_style import STYLE
from tinygpt.evaluation.report import Answered, EvaluationReport, Group, RowOutcome, Score
from tinygpt.evaluation.wilson import wilson_interval

MAX_EXAMPLES = 200
_LEGEND = (
    '<p class="legend"><span class="key series-0"></span> model alone '
    '<span class="key series-1"></span> whole system '
    '<span class="faint">thin lines: 95 % confidence intervals (Wilson); at the right: shares and rows</span></p>'
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render_page(report: EvaluationReport) -> str:
    """The whole page. All text of rows and answers is escaped."""
    when = datetime.fromtimestamp(report.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    how = "greedy" if report.temperature == 0 else f"temperature {report.temperature:g}"
    sections = [
        f"<header><h1>How well it answers</h1><p>{escape(report.model_id)}</p>"
        f'<p class="faint">{when} · {report.overall.rows:,} rows · {report.samples} answer(s) a row, {how} · '
        f"{report.training_rows:,} training rows · {report.seconds:.0f} s</p></header>",
        _tiles(report),
        _charts("By split", report.by_split),
        _other_shares([report.overall, *report.by_split]),
        _charts("By topic", report.by_topic),
        _novelty([report.overall, *report.by_split]),
        _charts("By family, worst first", sorted(report.by_family, key=lambda g: g.model.pass_at_1), folded=True),
        _failures(report),
        _broken(report),
        f"<section><h2>What isolated the generated code</h2><p>{escape(', '.join(report.sandbox_layers)) or 'nothing'}"
        f"</p><p>{escape(report.what_this_is_not)}</p></section>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" '
        f'content="light dark"><title>TinyGPT: how well it answers</title><style>{STYLE}</style></head>'
        f"<body><main>{''.join(sections)}</main></body></html>\n"
    )


def _tiles(report: EvaluationReport) -> str:
    summary = report.summary()
    tiles = [
        ("pass@1, model alone", summary.model_pass_at_1),
        ("pass@1, whole system", summary.system_pass_at_1),
        ("parses", summary.parse_rate),
        ("exact match", summary.exact_match),
        ("answered by retrieval", summary.retrieval_share),
        ("no answer", summary.unanswered_share),
        ("memorised", summary.memorised_share),
    ]
    tiles += [(f"pass@{k}, model alone", share) for k, share in report.overall.model.pass_at_k.items() if k > 1]
    cells = "".join(f"<div><b>{share:.1%}</b><span>{escape(name)}</span></div>" for name, share in tiles)
    return f'<section class="tiles">{cells}</section>'


def _charts(title: str, groups: Sequence[Group], *, folded: bool = False) -> str:
    """pass@1 of each group as bars, and all its shares as a table."""
    if not groups:
        return ""
    rows = [
        BarRow(group.name, (_bar(group.model, group.rows), _bar(group.system, group.rows)), f"of {group.rows:,}")
        for group in groups
    ]
    head = "<tr><th>pass@1, parses, exact: model alone; the rest: whole system</th><th>rows</th><th>pass@1</th>"
    head += "<th>parses</th><th>exact</th><th>pass@1, system</th><th>by retrieval</th><th>no answer</th></tr>"
    lines = "".join(
        _line(
            group.name,
            f"{group.rows:,}",
            group.model.pass_at_1,
            group.model.parse_rate,
            group.model.exact_match,
            group.system.pass_at_1,
            group.system.retrieval_share,
            group.system.unanswered_share,
        )
        for group in groups
    )
    table = f"<details><summary>As a table</summary><table>{head}{lines}</table></details>"
    body = f"{_LEGEND}{bar_chart(f'pass@1 {title}', rows)}{table}"
    if folded:
        body = f"<details><summary>{len(groups)} groups</summary>{body}</details>"
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _other_shares(groups: Sequence[Group]) -> str:
    """The other shares of each group as bars."""
    rows = []
    for group in groups:
        sides = (group.model, group.system)
        for name, shares in {
            "parses": [side.parse_rate for side in sides],
            "exact match": [side.exact_match for side in sides],
            "by retrieval": [side.retrieval_share for side in sides],
        }.items():
            bars = tuple(Bar(share, wilson_interval(share, group.rows)) for share in shares)
            rows.append(BarRow(f"{group.name}: {name}", bars, f"of {group.rows:,}"))
    title = "Parses, exact match, answered by retrieval"
    return f"<section><h2>{title}</h2>{_LEGEND}{bar_chart(title, rows)}</section>"


def _bar(score: Score, rows: int) -> Bar:
    return Bar(score.pass_at_1, wilson_interval(score.pass_at_1, rows))


def _line(name: str, rows: str, *shares: float | None) -> str:
    cells = "".join(f"<td>{'–' if share is None else f'{share:.1%}'}</td>" for share in shares)
    return f"<tr><th>{escape(name)}</th><td>{rows}</td>{cells}</tr>"


def _novelty(groups: Sequence[Group]) -> str:
    head = "<tr><th></th><th>rows</th><th>memorised</th><th>pass@1, memorised</th><th>pass@1, new</th>"
    head += "<th>code seen in training</th><th>similarity of the nearest prompt</th></tr>"
    lines = ""
    for group in groups:
        new, rows = group.novelty, max(1, group.rows)
        lines += _line(
            group.name,
            f"{group.rows:,}",
            new.memorised_rows / rows,
            new.memorised_pass,
            new.new_pass,
            new.seen_code_rows / rows,
            new.mean_similarity / 100,
        )
    return (
        "<section><h2>Memorised or new</h2><p>An answer is memorised if it is the code of the nearest training prompt. "
        f"Spaces, quotes and comments do not count.</p><table>{head}{lines}</table></section>"
    )


def _failures(report: EvaluationReport) -> str:
    failures = report.failures()
    if not failures:
        return "<section><h2>Failing examples</h2><p>None.</p></section>"
    shown = failures[:: max(1, -(-len(failures) // MAX_EXAMPLES))]
    note = f"{len(failures):,} rows failed. {len(shown):,} of them are shown, evenly spaced."
    examples = "".join(_example(outcome, report.samples) for outcome in shown)
    return f"<section><h2>Failing examples</h2><p>{note} The JSON report has all of them.</p>{examples}</section>"


def _example(outcome: RowOutcome, samples: int) -> str:
    facts = [outcome.family, outcome.split, "memorised" if outcome.memorised else ""]
    nearest = ""
    if outcome.nearest_prompt is not None:
        nearest = (
            f'<p class="faint">Nearest training prompt ({outcome.similarity:.0f}): {escape(outcome.nearest_prompt)}</p>'
        )
    return (
        f'<article><h3>{escape(outcome.prompt)} <span class="faint">{escape(" · ".join(filter(None, facts)))}</span>'
        f'</h3><div class="side"><div><h4>expected</h4><pre>{escape(outcome.expected)}</pre></div>'
        f"{_column('model alone', outcome.model, samples)}{_column('whole system', outcome.system, samples)}</div>"
        f"{nearest}</article>"
    )


def _column(title: str, answered: Answered, samples: int) -> str:
    source = "" if answered.source == "model" else f" ({answered.source})"
    verdict = "passed" if answered.passed == samples else answered.reason
    if samples > 1:
        verdict = f"{answered.passed} of {samples} passed. {answered.reason}"
    kind = "passed" if answered.passed == samples else "failed"
    return (
        f'<div><h4>{title}{source}</h4><pre>{escape(answered.code)}</pre><p class="{kind}">{escape(verdict)}</p></div>'
    )


def _broken(report: EvaluationReport) -> str:
    if not report.broken_rows and not report.rows_without_check:
        return ""
    items = "".join(f"<li>{escape(row.prompt)}: {escape(row.reason)}</li>" for row in report.broken_rows)
    return (
        "<section><h2>Rows left out</h2><p>"
        f"{report.rows_without_check:,} rows have no check. {len(report.broken_rows):,} rows have code that fails its "
        f"own check on this machine.</p><ul>{items}</ul></section>"
    )
