"""Code that tries to pass without being right."""

import pytest

from tinygpt.evaluation.forgery_screen import refusal
from tinygpt.evaluation.limits import Limits
from tinygpt.evaluation.sandbox import Sandbox

CHECK = "exec(code)\nassert add(2, 3) == 5"
WRONG = "def add(a, b):\n    return a - b\n"

FORGERIES = {
    "os._exit": "import os\nos._exit(0)",
    "sys.exit": "import sys\nsys.exit(0)",
    "SystemExit": "raise SystemExit(0)",
    "GeneratorExit": "raise GeneratorExit",
    "printing what might be waited for": """
for word in ("passed", "ok", '{"passed": true, "reason": "", "seconds": 0.1}'):
    print(word, flush=True)
""",
    "writing it to every descriptor": """
import os
for fd in range(32):
    try:
        os.write(fd, b'{"passed": true, "reason": "", "seconds": 0.1}\\n')
    except OSError:
        pass
os._exit(0)
""",
    "closing every descriptor": "import os\nos.closerange(0, 32)",
    "putting another descriptor in its place": "import os\nos.dup2(1, 3)\nos._exit(0)",
    "reading what may be in the descriptors": """
import os
for fd in range(32):
    try:
        os.set_blocking(fd, False)
        secret = os.read(fd, 4096)
        os.write(3, secret)
    except OSError:
        pass
os._exit(0)
""",
    "patching AssertionError": "import builtins\nbuiltins.AssertionError = type('A', (Exception,), {})",
    "patching eval and exec": "import builtins\nbuiltins.exec = builtins.eval = lambda *a: None",
    "patching os._exit and os.write": """
import os
def forge(fd, data):
    os.real(3, data)
os.real = os.write
os.write = forge
os._exit = lambda status: None
""",
    "finding the frame below": """
import sys
frame = sys._getframe()
while frame:
    if "nonce" in frame.f_locals:
        import os
        os.write(3, frame.f_locals["nonce"])
        os._exit(0)
    frame = frame.f_back
""",
    "finding the frame by an exception": """
import os
try:
    1 / 0
except ZeroDivisionError as error:
    frame = error.__traceback__.tb_frame
while frame:
    if "nonce" in frame.f_locals:
        os.write(3, frame.f_locals["nonce"])
        os._exit(0)
    frame = frame.f_back
""",
    "finding the frame by a generator": """
import os
def g():
    frame = generator.gi_frame.f_back.f_back
    while frame:
        if "nonce" in frame.f_locals:
            os.write(3, frame.f_locals["nonce"])
            os._exit(0)
        frame = frame.f_back
    yield
generator = g()
next(generator)
""",
    "finding the frame by a trace function": """
import sys, os
def trace(frame, event, arg):
    while frame:
        if "nonce" in frame.f_locals:
            os.write(3, frame.f_locals["nonce"])
            os._exit(0)
        frame = frame.f_back
sys.settrace(trace)
def f(): pass
f()
""",
    "finding the frame by a signal handler": """
import signal, os
def handler(number, frame):
    while frame:
        if "nonce" in frame.f_locals:
            os.write(3, frame.f_locals["nonce"])
            os._exit(0)
        frame = frame.f_back
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.01)
while True: pass
""",
    "looking through the garbage collector": """
import gc, os
for thing in gc.get_objects():
    if isinstance(thing, dict) and isinstance(thing.get("nonce"), bytes):
        os.write(3, thing["nonce"])
        os._exit(0)
""",
    "reading its own memory": """
import re
from pathlib import Path
memory = Path("/proc/self/mem").open("rb")
""",
    "calling what the runner calls": """
import sys
run = sys.modules["tinygpt.evaluation.jail.run"]
run._why_failed = lambda *a: None
""",
    "a subinterpreter": "import _xxsubinterpreters as s\ns.run_string(s.create(), 'import ctypes')",
    "an audit hook of its own": """
import sys, os
seen = []
sys.addaudithook(lambda event, args: seen.append(args))
""",
    "replacing the interpreter's main module": "import sys\nsys.modules.clear()",
    "atexit": "import atexit, os\natexit.register(os._exit, 0)",
    "a finaliser": """
import os
class C:
    def __del__(self):
        os._exit(0)
c = C()
""",
    "an exit from an error's text": """
import os
class E(Exception):
    def __str__(self):
        os._exit(0)
raise E
""",
    "an error whose text never ends": """
class E(Exception):
    def __str__(self):
        while True: pass
raise E
""",
    "a thread that goes on": """
import threading, os, time
def later():
    time.sleep(0.1)
    os._exit(0)
threading.Thread(target=later).start()
""",
}


REFUSED = {
    "finding the frame below": "sys._getframe",
    "finding the frame by an exception": "tb_frame",
    "finding the frame by a generator": "gi_frame",
    "finding the frame by a trace function": "sys.settrace",
    "finding the frame by a signal handler": "the module signal",
    "looking through the garbage collector": "the module gc",
    "reading its own memory": "reading outside the working folder",
    "a subinterpreter": "the module _xxsubinterpreters",
}
REASONS = dict.fromkeys(FORGERIES, "AssertionError (in the check: assert add(2, 3) == 5)")
"""Why each fails. Where the forgery changes nothing, the check goes on and finds the wrong answer."""
REASONS |= {name: f"Refused: {what}" for name, what in REFUSED.items()}
REASONS |= dict.fromkeys(("sys.exit", "SystemExit"), "SystemExit: 0")
REASONS |= {
    "GeneratorExit": "GeneratorExit",
    "writing it to every descriptor": '{"passed": true',
    "calling what the runner calls": "KeyError: 'tinygpt.evaluation.jail.run'",
    "an error whose text never ends": "used more than 1 s of CPU time",
    "a thread that goes on": "RuntimeError: can't start new thread",
}
REASONS |= dict.fromkeys(
    (
        "os._exit",
        "closing every descriptor",
        "putting another descriptor in its place",
        "reading what may be in the descriptors",
        "an exit from an error's text",
    ),
    "left without finishing the check",
)


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_does_not_pass(sandbox: Sandbox, name: str) -> None:
    verdict = sandbox.run(f"{FORGERIES[name]}\n{WRONG}", CHECK, Limits(cpu_seconds=1, wall_seconds=60))

    assert not verdict.passed
    assert verdict.reason.startswith(REASONS[name])


def test_an_audit_hook_of_its_own_is_never_called(sandbox: Sandbox) -> None:
    code = FORGERIES["an audit hook of its own"] + "open('file', 'w')\n"

    assert sandbox.run(code, "exec(code, globals())\nassert seen == []").passed


def test_the_right_answer_would_have_passed(sandbox: Sandbox) -> None:
    assert sandbox.run("def add(a, b):\n    return a + b", CHECK).passed


def test_patched_builtins_do_not_reach_the_check(sandbox: Sandbox) -> None:
    code = "import builtins\nbuiltins.abs = lambda x: 0\nbuiltins.eval = lambda *a: 5\n"

    assert "AssertionError" in sandbox.run(code, "exec(code)\nassert abs(-1) == 0").reason
    assert "replaced" in sandbox.run(code, "exec(code)").reason


@pytest.mark.parametrize(
    "code",
    [
        "import operator\nget = operator.attrgetter('__glo' + 'bals__')\n"
        "get(lambda: 0)['__buil' + 'tins__']['abs'] = lambda x: 0",
        "__builtins__['abs'] = lambda x: 0",
        "__builtins__ = {**__builtins__, 'abs': lambda x: 0}",
    ],
)
def test_the_checks_own_builtins_must_stay_as_they_were(sandbox: Sandbox, code: str) -> None:
    assert "the answer replaced" in sandbox.run(code, "exec(code, globals())\nassert abs(-1) in (0, 1)").reason


def test_a_module_that_the_check_relies_on_must_stay_as_it_was(sandbox: Sandbox) -> None:
    code = "import math\nmath.isclose = lambda *a, **k: True\ndef half(x): return x"

    verdict = sandbox.run(code, "import math\nexec(code)\nassert math.isclose(half(1), 0.5)")

    assert verdict.reason == "the answer replaced isclose, which the check relies on"


def test_a_check_may_replace_a_function_itself(sandbox: Sandbox) -> None:
    check = "import time\ntime.sleep = lambda s: None\nexec(code)\nassert waited"

    assert sandbox.run("import time\ntime.sleep(1000)\nwaited = True", check).passed


def test_a_check_may_replace_input(sandbox: Sandbox) -> None:
    check = "import builtins\nbuiltins.input = lambda prompt='': 'Ada'\nexec(code)\nassert name == 'Ada'"

    assert sandbox.run("name = input('Name? ')", check).passed


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("class A:\n    def __eq__(self, other): return True\ndef add(a, b): return A()", "uses __eq__"),
        ("def add(a, b): return type('A', (), {'__eq__': lambda s, o: True})()", "uses __eq__"),
        ("def add(a, b): return type('A', (), {})()", "uses type() to make a class"),
        ("class A(int):\n    __ne__ = None", "uses __ne__"),
        ("from unittest.mock import ANY\ndef add(a, b): return ANY", "imports unittest"),
        ("import sys\nsys._getframe()", "uses _getframe"),
        ("import sys\nsys.modules['math'] = 1", "uses sys.modules"),
        ("from sys import modules", "uses sys.modules"),
        ("from os import _exit", "uses _exit"),
        ("getattr(1, 'x')", "uses getattr"),
        ("exec('x = 1')", "uses exec"),
        ("'{0.__class__}'.format(1)", "uses __class__"),
        ("e.__traceback__.tb_frame", "uses __traceback__"),
        ("import ctypes", "imports ctypes"),
        ("import math\nmath.isclose = print", "changes math.isclose"),
        ("def len(x): return 3", "redefines len"),
        ("len = max", "redefines len"),
        ("from math import fsum as len", "redefines len"),
        ("def f():\n    global len\n    len = 3", "redefines len"),
        ("class math: pi = 3", "redefines math"),
    ],
)
def test_the_screen_says_what_it_refuses(code: str, says: str) -> None:
    check = "import math\nexec(code)\nassert len(add(1, 2)) == math.pi"

    assert (refusal(code, expected="def add(a, b):\n    return a + b", check=check) or "").startswith(says)


@pytest.mark.parametrize(
    "code",
    [
        "def add(a, b):\n    sum = a + b\n    return sum",
        "sum = 0\nfor x in xs:\n    sum += x",
        "[len for len in xs]",
        "class P:\n    def __init__(self):\n        self._x = 1\n    def __repr__(self):\n        return str(self._x)",
        "from collections import namedtuple\nP = namedtuple('P', 'x')\nP(1)._replace(x=2)",
        "import math\nmath.floor(2.5)",
        "import os\nos.environ['HOME'] = 'x'",
        "from pathlib import Path\nPath('a').write_text('b')",
        "x = '__'\ny = 'a__b'",
        "not python (",
    ],
)
def test_the_screen_lets_ordinary_code_through(code: str) -> None:
    check = "import math\nexec(code)\nassert len(add(1, 2)) == math.pi"

    assert refusal(code, expected="def add(a, b):\n    return a + b", check=check) is None


def test_what_the_expected_code_uses_is_allowed() -> None:
    code = "import ctypes\nclass A:\n    def __eq__(self, other): return self._x == other._x"

    assert refusal(code, expected=code, check="exec(code)") is None
