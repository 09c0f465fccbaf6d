"""What the measurements of `make bench-decode` come to: ratios, goals, the report."""

from dataclasses import replace

from benchmarks.decode_report import Results, Share, goals, markdown
from benchmarks.decoding_cells import Agreement, Decoded
from benchmarks.serving_cells import CLIENTS, Served, StartUp
from benchmarks.side_process import Speed


def _decoded(side: str, speeds: list[float], streams: int = 1) -> list[Decoded]:
    return [Decoded("tiny", streams, side, i, Speed(int(speed), 1.0, 1.0)) for i, speed in enumerate(speeds)]


def _served(side: str, clients: int, speed: float, first: float | None = None) -> Served:
    setting = "Q8_0, 8 slots, 2 cores" if side == "llama.cpp" else ""
    return Served("tiny", side, setting, clients, 0, speed, 0.01, 0.02, first, 100, 0, 0.5, 1.9, 0.1, 200.0)


def _results() -> Results:
    return Results(
        agreements=[Agreement("tiny", "ours, PyTorch", 4, 4, 0, None), Agreement("tiny", "llama.cpp", 4, 3, 0, 17)],
        decoded=[
            *_decoded("ours, float32", [3000, 2000, 4000]),
            *_decoded("ours, int8", [5000, 6000, 7000]),
            *_decoded("CTranslate2, float32", [1500, 1000, 2000]),
            *_decoded("CTranslate2, int8", [2500, 2000, 3500]),
            *_decoded("nanoGPT", [100]),
            *_decoded("ours, int8", [9000], streams=32),
            *_decoded("CTranslate2, int8", [6000], streams=32),
        ],
        served=[
            *(_served("ours", clients, 1000 + clients) for clients in CLIENTS),
            _served("ours", 32, 900, first=0.06),
            *(_served("llama.cpp", clients, 250) for clients in CLIENTS),
        ],
        shares=[Share("tiny", 1, "ours, int8", 6.0, 10.0, "GB/s")],
        start_ups=[StartUp("tiny", "cached", 0, 2.5), StartUp("tiny", "compiled anew", 0, 9.0)],
    )


def test_a_ratio_compares_the_best_of_each_in_the_same_repetition() -> None:
    one_stream = next(goal for goal in goals(_results()) if goal.what.startswith("1 streams"))

    assert one_stream.what == "1 streams, tiny: ours, int8 over CTranslate2, int8"
    assert (one_stream.figure.low, one_stream.figure.median, one_stream.figure.high) == (2.0, 2.0, 3.0)
    assert one_stream.met


def test_the_report_names_every_goal_that_is_not_met() -> None:
    found = {goal.what: goal.met for goal in goals(_results())}

    assert [what for what, met in found.items() if not met] == [
        "32 streams, tiny: ours, int8 over CTranslate2, int8",
        "first token p99, tiny, 32 clients",
        "checkpoint to first token, tiny, kernels cached",
    ]
    assert found["HTTP, tiny, 128 clients, over llama.cpp"]


def test_tokens_a_second_that_fall_with_more_clients_miss_the_goal() -> None:
    falls = [_served("ours", clients, speed) for clients, speed in zip(CLIENTS, (100, 200, 150, 210), strict=True)]

    growth = next(goal for goal in goals(Results(served=falls)) if "as clients grow" in goal.what)

    assert growth.figure.median == 0.75
    assert not growth.met


def test_memory_that_grows_within_a_repetition_misses_the_goal() -> None:
    def served(mebibytes: tuple[float, float]) -> list[Served]:
        of_one = list(zip(CLIENTS, mebibytes, strict=False))
        return [
            replace(_served("ours", clients, 1000), repetition=repetition, resident_mib=size + repetition)
            for repetition in range(3)
            for clients, size in of_one
        ]

    for sizes, met in (((200.0, 230.0), True), ((200.0, 300.0), False)):
        goal = next(goal for goal in goals(Results(served=served(sizes))) if goal.what.startswith("memory"))
        assert goal.met is met


def test_the_report_has_every_figure() -> None:
    text = markdown(_results())

    assert "| ours, int8 | 6,000 (5,000 to 7,000) | 1.00 |" in text
    assert "| nanoGPT | 100 | 60.00 (50.00 to 70.00) |" in text
    assert "| tiny | llama.cpp | 3 of 4 | 0 | 17 tokens |" in text
    assert "| tiny | 32 | llama.cpp (Q8_0, 8 slots, 2 cores) | 250 |" in text
    assert "| tiny | 1 | ours, int8 | 6.0 GB/s | 10.0 GB/s | 60% |" in text
