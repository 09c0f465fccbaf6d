"""The decoders that every test of the protocol, the scheduler and the engine runs on."""

import torch

from tests.known_ngrams import know_ngrams
from tinygpt.data.tokenizer import EOS, CharacterTokenizer
from tinygpt.inference.backend import Backend, make_decoder
from tinygpt.inference.decoder import Decoder
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT

BACKENDS: tuple[Backend, ...] = ("torch", "compiled")
TOKENIZER = CharacterTokenizer.from_corpus([])
CONFIG = ModelConfig(
    vocab_size=TOKENIZER.vocab_size, context_length=32, layers=2, heads=2, width=16, dropout=0.0, tie_weights=False
)


def random_model(*, ends: bool, config: ModelConfig = CONFIG) -> TinyGPT:
    """Random weights, large enough that its choices differ. Without `ends` it never generates `<EOS>`."""
    torch.manual_seed(0)
    model = know_ngrams(TinyGPT(config).eval())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6)
        model.final_norm.weight[0] = 0.0
        model.final_norm.bias[0] = 1.0
        model.head.weight[EOS, 0] = 2.0 if ends else -1000.0
    return model


def precise_model(backend: Backend, *, ends: bool) -> TinyGPT:
    """`random_model`, for PyTorch in float64: a prompt in chunks gives the same text as a whole one (see `Decoder`)."""
    return random_model(ends=ends).double() if backend == "torch" else random_model(ends=ends)


def decoder(backend: Backend, model: TinyGPT, *, slots: int = 1) -> Decoder:
    return make_decoder(model, TOKENIZER, slots=slots, backend=backend)
