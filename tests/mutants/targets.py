"""The modules that are mutated, each with the tests that should notice. A silent bug costs most in these."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Target:
    """Files to mutate and the tests to run. Patterns are globs from the root of the repository."""

    name: str
    files: tuple[str, ...]
    tests: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    constants: bool = True
    """Mutate numbers outside functions too. Off where those are tables of the kernel's own numbers."""


LIBRARY = "shared/tinygpt"
TARGETS = (
    Target(
        "optimizer",
        (f"{LIBRARY}/training/optimizer.py", f"{LIBRARY}/training/muon.py", f"{LIBRARY}/training/rowwise_adagrad.py"),
        ("tests/training/test_optimizer_step.py", "tests/training/test_muon.py", "tests/training/test_rowwise*.py"),
    ),
    Target("loss", (f"{LIBRARY}/training/loss.py",), ("tests/training/test_loss_*.py", "tests/training/test_loss.py")),
    Target("schedule", (f"{LIBRARY}/training/schedule.py",), ("tests/training/test_schedule.py",)),
    Target("checkpoint", (f"{LIBRARY}/model/checkpoint.py",), ("tests/model/test_checkpoint*.py",)),
    Target("durable", (f"{LIBRARY}/durable.py",), ("tests/test_durable*.py",)),
    Target("lease", (f"{LIBRARY}/runtime/lease.py",), ("tests/runtime/test_lease*.py",)),
    Target(
        "runs",
        tuple(f"{LIBRARY}/runtime/{name}.py" for name in ("runs", "run_events", "run_record", "transitions")),
        tuple(f"tests/runtime/test_{name}*.py" for name in ("run", "transitions", "recovery", "old_records")),
    ),
    Target("promotion", ("services/trainer/promotion.py",), ("tests/services/trainer/test_promotion*.py",)),
    Target("admission", (f"{LIBRARY}/http/admission.py",), ("tests/http/test_admission*.py",)),
    Target("upstreams", ("services/gateway/upstreams.py",), ("tests/services/gateway/test_upstreams*.py",)),
    Target("access", ("services/gateway/access.py",), ("tests/services/gateway/test_access*.py",)),
    Target(
        "sampling",
        (f"{LIBRARY}/inference/sampling.py",),
        ("tests/inference/test_sampling*.py",),
        environment={"NUMBA_DISABLE_JIT": "1"},  # mutants in Python, or each would be compiled
    ),
    Target(
        "stop_strings",
        (f"{LIBRARY}/inference/stop_strings.py",),
        ("tests/inference/test_stop_strings*.py", "tests/inference/test_ready_tokens.py"),
    ),
    Target(
        "scheduler",
        (f"{LIBRARY}/inference/scheduler.py",),
        ("tests/inference/test_scheduler*.py", "tests/inference/test_prefill*.py"),
    ),
    Target("split", (f"{LIBRARY}/data/split.py",), ("tests/data/test_split*.py",)),
    Target(
        "jail",
        (f"{LIBRARY}/evaluation/jail/*.py",),
        ("tests/evaluation/test_jail*.py", "tests/evaluation/test_sandbox*.py", "tests/evaluation/test_forgery*.py"),
        constants=False,
    ),
)
