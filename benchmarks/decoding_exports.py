"""One checkpoint in every peer's own format: Hugging Face's GPT-2, CTranslate2, ONNX, GGUF, and nanoGPT in memory.

Only GPT-2's architecture can be exported: learned positions, no convolution, no n-grams, a tied head.
"""

import contextlib
import io
import logging
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.training_sides import imported
from tinygpt.data.tokenizer import CONTROL_TOKENS, CharacterTokenizer, Tokenizer
from tinygpt.model.checkpoint import Checkpoint
from tinygpt.model.config import ModelConfig
from tinygpt.model.transformer import TinyGPT

_LAYER_NAMES = {
    "attention_norm": "ln_1",
    "attention.query_key_value": "attn.c_attn",
    "attention.output": "attn.c_proj",
    "mlp_norm": "ln_2",
    "mlp.expand": "mlp.c_fc",
    "mlp.output": "mlp.c_proj",
}
"""Our names and GPT-2's. In Hugging Face's layout GPT-2's matrices are transposed: (in, out)."""
_NORM_EPSILON = 1e-5


def gpt2_tensors(model: TinyGPT) -> dict[str, Tensor]:
    """The weights under GPT-2's names; a matrix is (out, in), as in `nn.Linear`."""
    config = model.config
    if not is_gpt2(config):
        raise ValueError("only GPT-2's architecture can be exported for the peers")
    ours = model.state_dict()
    tensors = {
        "wte.weight": ours["token_embedding.weight"],
        "wpe.weight": ours["position_embedding.weight"],
        "ln_f.weight": ours["final_norm.weight"],
        "ln_f.bias": ours["final_norm.bias"],
    }
    for layer in range(config.layers):
        for name, theirs in _LAYER_NAMES.items():
            for kind in ("weight", "bias"):
                tensors[f"h.{layer}.{theirs}.{kind}"] = ours[f"blocks.{layer}.{name}.{kind}"]
    return tensors


def is_gpt2(config: ModelConfig) -> bool:
    plain = not (config.qk_norm or config.convolution or config.ngrams)
    return config.architecture == "transformer" and config.positions == "learned" and plain and config.tie_weights


# -- Hugging Face and what is made from it


def export_hugging_face(checkpoint: Checkpoint, folder: Path) -> None:
    """`config.json`, `model.safetensors`, and a tokenizer with the same ids."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = checkpoint.model.config
    theirs = GPT2LMHeadModel(
        GPT2Config(
            vocab_size=config.vocab_size,
            n_positions=config.context_length,
            n_embd=config.width,
            n_layer=config.layers,
            n_head=config.heads,
            activation_function="gelu",  # the exact one, as ours
            layer_norm_epsilon=_NORM_EPSILON,
            bos_token_id=None,
            eos_token_id=None,  # every side generates the number of tokens asked for
        )
    )
    state = {
        f"transformer.{name}": tensor.T if name.startswith("h.") and tensor.dim() == 2 else tensor
        for name, tensor in gpt2_tensors(checkpoint.model).items()
    }
    state["lm_head.weight"] = state["transformer.wte.weight"]
    theirs.load_state_dict({name: tensor.contiguous() for name, tensor in state.items()})
    theirs.save_pretrained(folder)
    _character_tokenizer(checkpoint.tokenizer).save_pretrained(folder)


def _character_tokenizer(tokenizer: Tokenizer) -> Any:
    from tokenizers import Regex
    from tokenizers import Tokenizer as FastTokenizer
    from tokenizers.decoders import Fuse
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from transformers import PreTrainedTokenizerFast

    assert isinstance(tokenizer, CharacterTokenizer)
    pad, unk, prompt, _, eos = CONTROL_TOKENS
    names = tokenizer.token_names(range(tokenizer.vocab_size))
    fast = FastTokenizer(WordLevel({name: i for i, name in enumerate(names)}, unk_token=unk))
    fast.pre_tokenizer = Split(Regex(r"[\s\S]"), behavior="isolated")
    fast.decoder = Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=fast, unk_token=unk, pad_token=pad, bos_token=prompt, eos_token=eos)


def export_ctranslate2(hugging_face: Path, folder: Path) -> None:
    """Both precisions are read from these fp32 weights."""
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(hugging_face)).convert(str(folder), force=True)


# -- ONNX


class StepWithCache(nn.Module):
    """A step of GPT-2 as a graph that can be exported: the cache comes in, the longer one goes out.

    ids (B, T), positions (T), cache (layers, 2, B, H, S, D), mask (T, S + T) of 0 and -inf, to the last position's
    logits (B, V) and the cache (layers, 2, B, H, S + T, D).
    """

    def __init__(self, model: TinyGPT) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        model = self.model
        x = model.token_embedding(ids) + model.position_embedding(positions)
        grown = []
        for layer, block in enumerate(model.blocks):
            attention: Any = block.get_submodule("attention")
            batch, time, width = x.shape
            projected = attention.query_key_value(block.get_submodule("attention_norm")(x))
            heads = projected.view(batch, time, 3, attention.heads, attention.head_width).permute(2, 0, 3, 1, 4)
            keys = torch.cat([cache[layer, 0], heads[1]], dim=2)
            values = torch.cat([cache[layer, 1], heads[2]], dim=2)
            grown.append(torch.stack([keys, values]))
            scores = heads[0] @ keys.transpose(-2, -1) / math.sqrt(attention.head_width) + mask
            mixed = (scores.softmax(dim=-1) @ values).transpose(1, 2).reshape(batch, time, width)
            x = x + attention.output(mixed)
            x = x + block.get_submodule("mlp")(block.get_submodule("mlp_norm")(x))
        logits = model.head(model.final_norm(x[:, -1]))
        return logits, torch.stack(grown)


def export_onnx(checkpoint: Checkpoint, path: Path) -> None:
    model = checkpoint.model
    config = model.config
    cache = torch.zeros(config.layers, 2, 2, config.heads, 5, config.head_width)
    ids, positions, mask = torch.ones(2, 3, dtype=torch.long), torch.arange(5, 8), torch.zeros(3, 8)
    batch, time, seen = (torch.export.Dim(name, min=1, max=4096) for name in ("batch", "time", "seen"))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it would like to have torchvision
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(
            StepWithCache(model).eval(),
            (ids, positions, mask, cache),
            path,
            input_names=["ids", "positions", "mask", "cache"],
            output_names=["logits", "grown"],
            dynamic_shapes=(
                {0: batch, 1: time},
                {0: time},
                {0: time, 1: torch.export.Dim.DYNAMIC},
                {2: batch, 4: seen},
            ),
            dynamo=True,
        )


# -- GGUF


def export_gguf(checkpoint: Checkpoint, path: Path, *, q8_0: bool = False) -> None:
    """In fp32, or its matrices in bytes with a scale for every 32. llama.cpp's GPT-2 has the tanh approximation of
    GELU, from a table in half precision."""
    import gguf

    kind = gguf.GGMLQuantizationType.Q8_0
    config = checkpoint.model.config
    writer = gguf.GGUFWriter(str(path), "gpt2")
    writer.add_block_count(config.layers)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.width)
    writer.add_feed_forward_length(config.mlp_width)
    writer.add_head_count(config.heads)
    writer.add_layer_norm_eps(_NORM_EPSILON)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0 if q8_0 else gguf.LlamaFileType.ALL_F32)
    _add_vocabulary(writer, checkpoint.tokenizer)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GPT2, config.layers)
    for name, tensor in gpt2_tensors(checkpoint.model).items():
        theirs = names.get_name(f"transformer.{name}", try_suffixes=(".weight", ".bias"))
        assert theirs is not None, name
        array = tensor.contiguous().numpy()
        if q8_0 and array.ndim == 2 and name != "wpe.weight":  # positions are added, not multiplied
            writer.add_tensor(theirs, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(theirs, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: Any, tokenizer: Tokenizer) -> None:
    """A byte-level vocabulary without merges: ids go in as ids, and come out as the characters' bytes."""
    import gguf

    spelling = _byte_spelling()
    names = tokenizer.token_names(range(tokenizer.vocab_size))
    control = len(CONTROL_TOKENS)
    spelled = ["".join(spelling[byte] for byte in name.encode()) for name in names[control:]]
    kinds = [gguf.TokenType.CONTROL] * control + [gguf.TokenType.NORMAL] * (len(names) - control)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*CONTROL_TOKENS, *spelled])
    writer.add_token_types(kinds)
    writer.add_token_merges(["a b"])  # the loader wants one
    writer.add_bos_token_id(CONTROL_TOKENS.index("<PROMPT>"))
    writer.add_eos_token_id(CONTROL_TOKENS.index("<EOS>"))
    writer.add_add_bos_token(False)


def _byte_spelling() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(rest)}


# -- nanoGPT


def nanogpt_model(checkpoint: Checkpoint, checkout: Path) -> Any:
    """The `GPT` of a checkout's `model.py`, with these weights."""
    module = imported(checkout / "model.py")
    config = checkpoint.model.config
    shape = module.GPTConfig(
        block_size=config.context_length,
        vocab_size=config.vocab_size,
        n_layer=config.layers,
        n_head=config.heads,
        n_embd=config.width,
        dropout=0.0,
        bias=True,
    )
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its number of parameters
        model = module.GPT(shape)
    state = {f"transformer.{name}": tensor for name, tensor in gpt2_tensors(checkpoint.model).items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    assert all(name == "lm_head.weight" or name.endswith("attn.bias") for name in missing), missing
    return model.eval()
