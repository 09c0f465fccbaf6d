"""A generator whose answers are written down beforehand, by prompt; the whole way after them is the real one."""

from collections.abc import Callable, Mapping, Sequence

import torch

from tinygpt.contracts.generation import GenerateRequest, GenerateResponse
from tinygpt.data.rows import Row
from tinygpt.data.tokenizer import CharacterTokenizer
from tinygpt.inference.decoder import Decoded
from tinygpt.inference.generator import CodeGenerator
from tinygpt.inference.retrieval import RetrievalIndex
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT


class ScriptedGenerator(CodeGenerator):
    """Says `answers[prompt]`; given a list of them, its nth sample says the nth."""

    def __init__(self, answers: Mapping[str, str | Sequence[str]], training_rows: Sequence[Row] = ()) -> None:
        texts = [text for answer in answers.values() for text in ([answer] if isinstance(answer, str) else answer)]
        tokenizer = CharacterTokenizer.from_corpus([*texts, *answers])
        torch.manual_seed(0)
        config = ModelConfig(
            vocab_size=tokenizer.vocab_size, context_length=32, layers=1, heads=1, width=8, dropout=0.0,
            tie_weights=False,
        )  # fmt: skip
        index = RetrievalIndex(training_rows) if training_rows else None
        super().__init__(TinyGPT(config).eval(), tokenizer, index, model_id="scripted")
        self._answers = answers

    def generate(self, request: GenerateRequest, should_stop: Callable[[], bool] = lambda: False) -> GenerateResponse:  # noqa: ARG002
        answer = self._answers[request.prompt]
        assert request.seed is not None
        text = answer if isinstance(answer, str) else answer[request.seed % 1_009]
        return self._answer(request, Decoded(self.tokenizer.encode(text), "eos"))
