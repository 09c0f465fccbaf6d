"""A generator whose model's texts are written down beforehand, by prompt; the whole way after them is the real one."""

from collections.abc import Mapping, Sequence

from tinygpt.data.rows import Row
from tinygpt.data.tokenizer import CharacterTokenizer
from tinygpt.inference.decoder import SlotOutput
from tinygpt.inference.engine import Engine
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.retrieval import RetrievalIndex
from tinygpt.inference.sampling import SamplingParameters
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT

Answers = Mapping[str, str | Sequence[str]]
CONTEXT_LENGTH = 256


class ScriptedDecoder:
    """Writes `answers[prompt]` at once; given a list of them, the nth sample's seed gets the nth."""

    slots = 4
    context_length = CONTEXT_LENGTH

    def __init__(self, answers: Answers, tokenizer: CharacterTokenizer) -> None:
        self._answers = answers
        self._tokenizer = tokenizer
        self._prompts: dict[int, list[int]] = {}
        self._due: dict[int, list[int]] = {}

    def prefill(self, prompts: Mapping[int, Sequence[int]]) -> None:
        for slot, ids in prompts.items():
            self._prompts.setdefault(slot, []).extend(ids)

    def begin(self, slot: int, sampling: SamplingParameters, *, max_new_tokens: int, top_logprobs: int = 0) -> None:  # noqa: ARG002
        assert sampling.seed is not None
        answer = self._answers[self._tokenizer.decode(self._prompts[slot])]
        self._due[slot] = self._tokenizer.encode(answer if isinstance(answer, str) else answer[sampling.seed % 1_009])

    def step(self, steps: int = 1) -> list[SlotOutput]:  # noqa: ARG002
        due, self._due = self._due, {}
        return [SlotOutput(slot, ids, [0.0] * len(ids), [], "eos") for slot, ids in due.items()]

    def interrupt(self) -> None:
        """A step takes no time."""

    def free(self, slot: int) -> None:
        self._prompts.pop(slot, None)
        self._due.pop(slot, None)


class ScriptedGenerator(CodeGenerator):
    """Its model says `answers[prompt]`."""

    def __init__(self, answers: Answers, training_rows: Sequence[Row] = ()) -> None:
        texts = [text for answer in answers.values() for text in ([answer] if isinstance(answer, str) else answer)]
        tokenizer = CharacterTokenizer.from_corpus([*texts, *answers])
        config = ModelConfig(vocab_size=tokenizer.vocab_size, context_length=CONTEXT_LENGTH, layers=1, heads=1, width=8)
        index = RetrievalIndex(training_rows) if training_rows else None
        super().__init__(TinyGPT(config).eval(), tokenizer, index, model_id="scripted", backend="torch")
        self.engine = Engine(ScriptedDecoder(answers, tokenizer), tokenizer)
