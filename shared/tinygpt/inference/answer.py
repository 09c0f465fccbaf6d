"""From the model's text to an answer: the text itself, its repair, a training row's code, or none.

Pure functions. A `Choice` goes in as the model generated it and comes out as the client gets it.
"""

from collections.abc import Callable

from tinygpt.contracts.generation import Choice, GenerateRequest
from tinygpt.inference.postprocess import loops, parses, post_process_code
from tinygpt.inference.retrieval import Match

Retrieve = Callable[[str], Match | None]
"""From a prompt to the nearest training row, or None if no row is near enough."""
_MIN_CHARACTERS = 2


def answer(choice: Choice, request: GenerateRequest, retrieve: Retrieve) -> Choice:
    """The answer to `request`, given the model's own `choice`. `source` says who wrote it, and `note` why."""
    if not is_judged(request):
        return choice
    problem = why_unusable(choice.raw)
    if problem is None and request.post_process:
        processed = post_process_code(choice.raw)
        if processed.code:
            return choice.model_copy(update={"code": processed.code, "repaired": processed.repaired})
        problem = "the model's text is not Python and could not be repaired"
    if problem is None:
        return choice
    if request.fallback == "auto":
        return _fallback(choice, problem, retrieve(request.prompt))
    return choice.model_copy(update={"code": "", "source": "none", "note": f"No answer: {problem}."})


def is_judged(request: GenerateRequest) -> bool:
    """True if the answer depends on what the model's text looks like."""
    return request.post_process or request.fallback == "auto"


def needs_no_repair(text: str) -> bool:
    """True if `answer` would give the text as it is. Cheap for a short text."""
    return text == text.strip("\n").rstrip() and why_unusable(text) is None and parses(text)


def why_unusable(text: str) -> str | None:
    """Why the model's text is no answer, or None if it may be one."""
    if not text.strip():
        return "the model's text is empty"
    if len(text.strip()) < _MIN_CHARACTERS:
        return "the model's text is too short"
    if loops(text):
        return "the model's text repeats itself"
    return None


def _fallback(choice: Choice, problem: str, match: Match | None) -> Choice:
    """The nearest training row's code in place of an unusable text, or no code."""
    if match is None:
        note = f"No answer: {problem}, and no training prompt is near enough. Try other words."
        return choice.model_copy(update={"code": "", "source": "none", "note": note})
    return choice.model_copy(
        update={
            "code": match.row.code,
            "source": "retrieval",
            "similarity": match.similarity,
            "matched_prompt": match.row.prompt,
            "note": f"Code of the nearest training prompt, because {problem}.",
        }
    )
