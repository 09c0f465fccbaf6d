"""What the numbers of an evaluation mean."""

import threading
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from tests.conftest import wait_until
from tests.evaluation.scripted_generator import ScriptedGenerator
from tinygpt.contracts.errors import InvalidDataset
from tinygpt.contracts.generation import GenerateRequest
from tinygpt.data.rows import Row
from tinygpt.evaluation.answers import Sampling, answer_all
from tinygpt.evaluation.evaluate import evaluate
from tinygpt.evaluation.html_page import render_page
from tinygpt.evaluation.progress import EvaluationProgress
from tinygpt.evaluation.report import EvaluationReport
from tinygpt.inference.decoder import SlotOutput
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.retrieval import RetrievalIndex


def row(prompt: str, code: str, check: str, family: str = "lists.any", split: str = "held_out_slots") -> Row:
    return Row(prompt, code, {"check": check, "family": family, "split": split})


TRAINING = [Row("reverse the list xs", "xs[::-1]"), Row("length of xs", "len(xs)"), Row("sum of ns", "sum(ns)")]
ROWS = [
    row("reverse the list nums", "nums[::-1]", "nums = [1, 2]\nassert eval(code) == [2, 1]"),
    row("length of ys", "len(ys)", "ys = [1]\nassert eval(code) == 1", split="held_out_phrasings"),
    row("is n even", "n % 2 == 0", "n = 4\nassert eval(code) is True", "numbers.even", "held_out_phrasings"),
    row("sum of the ns", "sum(ns)", "ns = [1]\nassert eval(code) == 1", "numbers.sum"),
]
ANSWERS = {
    "reverse the list nums": "nums[:: -1]",  # the same tree
    "length of ys": "len(ys",  # not Python; repaired by the system
    "is n even": "n % 2 != 1",  # right, another tree
    "sum of the ns": "sum(ns)",  # what training had
}


@pytest.fixture(scope="module")
def report() -> EvaluationReport:
    return evaluate(ScriptedGenerator(ANSWERS, TRAINING), ROWS, workers=1)


def test_the_model_alone_and_the_whole_system_are_scored_apart(report: EvaluationReport) -> None:
    model, system = report.overall.model, report.overall.system

    assert (model.pass_at_1, model.parse_rate, model.exact_match) == (0.75, 0.75, 0.5)
    assert (system.pass_at_1, system.parse_rate, system.exact_match) == (1.0, 1.0, 0.75)
    assert model.retrieval_share == system.retrieval_share == 0


def test_groups_are_made_by_split_topic_and_family(report: EvaluationReport) -> None:
    assert {group.name: group.model.pass_at_1 for group in report.by_split} == {
        "held_out_phrasings": 0.5,
        "held_out_slots": 1.0,
    }
    assert [(group.name, group.rows) for group in report.by_topic] == [("lists", 2), ("numbers", 2)]
    assert [group.name for group in report.by_family] == ["lists.any", "numbers.even", "numbers.sum"]


def test_memorised_is_told_from_new(report: EvaluationReport) -> None:
    by_prompt = {outcome.prompt: outcome for outcome in report.outcomes}

    assert by_prompt["sum of the ns"].memorised
    assert by_prompt["sum of the ns"].nearest_prompt == "sum of ns"
    assert not by_prompt["reverse the list nums"].memorised
    assert report.overall.novelty.memorised_rows == 1
    assert report.overall.novelty.new_pass == pytest.approx(2 / 3)


def test_a_failing_row_says_why(report: EvaluationReport) -> None:
    (failing,) = report.failures()

    assert (failing.prompt, failing.model.reason, failing.system.reason) == ("length of ys", "not Python", "")


def test_the_summary_has_the_same_numbers(report: EvaluationReport) -> None:
    summary = report.summary()

    assert (summary.rows, summary.model_pass_at_1, summary.system_pass_at_1) == (4, 0.75, 1.0)
    assert summary.model_pass_at_1_by_split == {"held_out_phrasings": 0.5, "held_out_slots": 1.0}
    assert summary.memorised_share == 0.25


def test_the_report_survives_json(report: EvaluationReport) -> None:
    assert EvaluationReport.model_validate_json(report.model_dump_json()) == report


def test_retrieval_and_silence_are_counted() -> None:
    answers = {"reverse the list nums": "", "is n even": ""}
    rows = [row("reverse the list nums", "xs[::-1]", "xs = [1, 2]\nassert eval(code) == [2, 1]"), ROWS[2]]

    report = evaluate(ScriptedGenerator(answers, TRAINING), rows, workers=1)

    assert report.overall.model.pass_at_1 == 0
    assert report.outcomes[0].model.reason == "no answer"
    assert report.overall.system.pass_at_1 == 0.5
    assert report.overall.system.retrieval_share == 0.5
    assert report.overall.system.unanswered_share == 0.5


def test_a_prompt_that_is_too_long_is_unanswered_and_the_others_are_judged() -> None:
    too_long = row("p" * 30_000, "1", "assert True")

    report = evaluate(ScriptedGenerator(ANSWERS, TRAINING), [too_long, ROWS[2]], workers=1)

    assert [outcome.model.passed for outcome in report.outcomes] == [0, 1]
    assert report.outcomes[0].model.reason == "no answer"


def test_without_retrieval_every_answer_is_new() -> None:
    report = evaluate(ScriptedGenerator(ANSWERS), ROWS, workers=1)

    assert report.training_rows == 0
    assert not any(outcome.memorised or outcome.seen_code for outcome in report.outcomes)


def test_several_samples_give_pass_at_k() -> None:
    answers = {ROWS[0].prompt: ["nums", "nums[::-1]", "nums", "nums"]}

    report = evaluate(ScriptedGenerator(answers), ROWS[:1], samples=4, temperature=0.8, workers=1)

    assert report.overall.model.pass_at_k == {1: pytest.approx(0.25), 4: 1.0}
    assert report.outcomes[0].model.passed == 1
    assert report.outcomes[0].nearest_prompt is None


def test_several_greedy_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="temperature"):
        evaluate(ScriptedGenerator(ANSWERS), ROWS, samples=2)


def test_rows_whose_own_code_fails_are_left_out_and_told() -> None:
    wrong = row("wrong", "1", "assert eval(code) == 2")

    report = evaluate(ScriptedGenerator(ANSWERS), [*ROWS, wrong, Row("bare", "1")], workers=1)

    assert report.overall.rows == 4
    assert [broken.prompt for broken in report.broken_rows] == ["wrong"]
    assert report.rows_without_check == 1


@pytest.mark.parametrize("rows", [[Row("bare", "1")], [row("wrong", "1", "assert eval(code) == 2")], []])
def test_rows_that_can_not_be_judged_are_refused(rows: list[Row]) -> None:
    with pytest.raises(InvalidDataset):
        evaluate(ScriptedGenerator(ANSWERS), rows, workers=1)


def test_a_forgery_is_no_pass() -> None:
    forged = "type('A', (), {'__eq__': lambda self, other: True})()"

    report = evaluate(ScriptedGenerator({ROWS[0].prompt: forged}), ROWS[:1], workers=1)

    assert report.outcomes[0].model.reason == "uses __eq__, which the expected code does not"


def test_a_row_that_needs_another_module_of_the_standard_library_can_be_judged() -> None:
    rows = [row("sqlite version", "sqlite3.sqlite_version", "import sqlite3\nassert eval(code)")]

    report = evaluate(ScriptedGenerator({"sqlite version": "sqlite3.sqlite_version"}), rows, workers=1)

    assert report.overall.model.pass_at_1 == 1


def test_progress_comes_with_its_phase_and_an_interrupt_leaves_nothing() -> None:
    seen: list[EvaluationProgress] = []

    def interrupt(progress: EvaluationProgress) -> None:
        seen.append(progress)
        if progress.phase == "judging":
            raise KeyboardInterrupt

    before = psutil.Process().children(recursive=True)

    with pytest.raises(KeyboardInterrupt):
        evaluate(ScriptedGenerator(ANSWERS), ROWS, workers=1, on_progress=interrupt)

    assert [progress.phase for progress in seen][:1] == ["checking the rows"]
    assert EvaluationProgress("answering", 4, 4, 0.0) in [
        EvaluationProgress(p.phase, p.done, p.total, 0.0) for p in seen
    ]
    left = set(psutil.Process().children(recursive=True)) - set(before)
    assert not [child for child in left if "tinygpt.eval" in str(child.cmdline())]


def test_each_prompt_gets_the_answers_that_it_would_get_alone() -> None:
    scripted = ScriptedGenerator({row.prompt: row.code for row in ROWS})
    generator = CodeGenerator(scripted.model, scripted.tokenizer, RetrievalIndex(TRAINING), model_id="real", slots=3)
    prompts = ["n", "ys", "the", "sum of", "list", "of", "even", "is", "a prompt that is far too long for it" * 9]
    sampling = Sampling(samples=2, temperature=1.0, seed=3, max_new_tokens=8)
    done: list[int] = []

    together = answer_all(generator, prompts, sampling, on_progress=done.append)

    for position, (prompt, both) in enumerate(zip(prompts[:-1], together, strict=False)):
        for sample, (model, system) in enumerate(zip(both.model, both.system, strict=True)):
            seed = (3 * 1_000_003 + position) * 1_009 + sample
            request = GenerateRequest(prompt=prompt, temperature=1.0, max_new_tokens=8, seed=seed)
            alone = generator.generate(request)
            assert (model.code, system.code, system.source) == (alone.raw, alone.code, alone.source)
    assert len({model.code for both in together for model in both.model}) > 10
    assert together[-1].model[0].source == together[-1].system[1].source == "none"
    assert done[0] == 0
    assert sorted(done) == done
    assert done[-1] == len(prompts)


def test_the_listener_is_told_every_second_even_while_no_answer_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = ScriptedGenerator({"n": "1"})
    told = threading.Event()
    step = generator.engine._decoder.step

    def step_once_told(steps: int = 1) -> Sequence[SlotOutput]:
        assert told.wait(30)
        return step(steps)

    monkeypatch.setattr(generator.engine._decoder, "step", step_once_told)
    seen: list[int] = []

    def listen(done: int) -> None:
        seen.append(done)
        if len(seen) == 3:
            told.set()

    assert answer_all(generator, ["n"], Sampling(), on_progress=listen)[0].model[0].code == "1"
    assert seen == [0, 0, 0, 1]


def test_what_the_listener_raises_ends_the_answering_and_frees_the_slots() -> None:
    scripted = ScriptedGenerator({row.prompt: row.code for row in ROWS})
    generator = CodeGenerator(scripted.model, scripted.tokenizer, model_id="real", slots=2)

    def stop_at_two(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        answer_all(generator, ["n", "ys", "sum"] * 10, Sampling(max_new_tokens=200), on_progress=stop_at_two)

    wait_until(lambda: generator.engine.running == generator.engine.waiting == 0, "the slots are free")
    generator.generate(GenerateRequest(prompt="n", max_new_tokens=3))


def test_the_page_stands_by_itself_and_escapes_what_was_generated(tmp_path: Path) -> None:
    attack = "'</pre><script>alert(1)</script><img src=http://example.org/x>'"
    rows = [row(f"{ROWS[0].prompt} <b>", "nums[::-1]", ROWS[0].extra["check"])]
    report = evaluate(ScriptedGenerator({rows[0].prompt: attack}), rows, workers=1)

    page = render_page(report)

    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page
    assert "nums &lt;b&gt;" in page
    assert not [part for part in (" src=", " href=", "url(", "@import") if part in page.replace("img src", "")]
    assert "prefers-color-scheme: dark" in page
    assert "nums[::-1]" in page
    assert page.count("<svg") == page.count("</svg>") == 4
    assert report.what_this_is_not.split(".")[0] in page.replace("&#x27;", "'")
