"""The decoders that are compared, ours and its peers, behind one call. `side_process.py` runs each in a process."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.decoding_exports import nanogpt_model
from benchmarks.decoding_models import Sampling
from tinygpt.contracts.models import WeightFormat
from tinygpt.inference.backend import Backend, make_decoder
from tinygpt.inference.decoder import Decoder
from tinygpt.inference.sampling import SamplingParameters
from tinygpt.inference.scheduler import Scheduler
from tinygpt.inference.sequence import SequenceRequest
from tinygpt.model.checkpoint import load_checkpoint

CHECKPOINT, HUGGING_FACE, CTRANSLATE2, ONNX = "best.pt", "hugging_face", "ctranslate2", "model.onnx"
"""Names of the files and folders in a model's folder."""
GGUF = {"llama.cpp, fp32": "model.gguf", "llama.cpp, Q8_0": "model-q8_0.gguf"}
"""The file of each side that is llama.cpp."""

Prompts = Sequence[Sequence[int]]


class Side(Protocol):
    """A decoder with a loaded model, on a number of cores."""

    def generate(self, prompts: Prompts, new_tokens: int, sampling: Sampling) -> list[list[int]]:
        """Continue every prompt by `new_tokens`. All prompts have the same length."""


class Ours:
    """This project's decoder, driven by its scheduler."""

    def __init__(self, folder: Path, cores: int, streams: int, backend: Backend, weights: WeightFormat) -> None:
        checkpoint = load_checkpoint(folder / CHECKPOINT)
        self._tokenizer = checkpoint.tokenizer
        self.decoder: Decoder = make_decoder(
            checkpoint.model,
            checkpoint.tokenizer,
            slots=streams,
            backend=backend,
            weights=weights,
            threads=min(cores, streams),
        )

    def generate(self, prompts: Prompts, new_tokens: int, sampling: Sampling) -> list[list[int]]:
        parameters = SamplingParameters(
            temperature=sampling.temperature, top_p=sampling.top_p, repetition_penalty=sampling.repetition_penalty
        )
        scheduler = Scheduler(self.decoder, self._tokenizer)
        for i, prompt in enumerate(prompts):
            scheduler.submit(i, SequenceRequest(prompt, parameters, new_tokens))
        written: list[list[int]] = [[] for _ in prompts]
        while scheduler.busy:
            for output in scheduler.turn():
                written[output.id] = list(output.ids)
        return written


class Transformers:
    """`GPT2LMHeadModel.generate` of transformers, with its cache."""

    def __init__(self, folder: Path) -> None:
        from transformers import GPT2LMHeadModel

        self.model = GPT2LMHeadModel.from_pretrained(folder / HUGGING_FACE).eval()

    def generate(self, prompts: Prompts, new_tokens: int, sampling: Sampling) -> list[list[int]]:
        chosen: dict[str, Any] = {"do_sample": False}
        if sampling.temperature:
            chosen = {
                "do_sample": True,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "top_k": 0,
                "repetition_penalty": sampling.repetition_penalty,
            }
        ids = torch.tensor(prompts)
        with torch.inference_mode():
            output = self.model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens, pad_token_id=0, **chosen
            )
        return output[:, ids.size(1) :].tolist()  # type: ignore[no-any-return]


class CTranslate2:
    """`Generator.generate_batch`. For many streams: with the division into batches and threads that is fastest here."""

    def __init__(self, folder: Path, cores: int, streams: int, compute_type: str) -> None:
        import ctranslate2

        self.names = load_checkpoint(folder / CHECKPOINT).tokenizer
        self.vocabulary = self.names.token_names(range(self.names.vocab_size))
        divisions = sorted({(1, cores, streams), (cores, 1, -(-streams // cores)), (cores, 1, -(-streams // 4))})
        self.division = divisions[0]
        """Batches at the same time, threads of each, and prompts in a batch."""
        self.generators = {
            (side_by_side, threads): ctranslate2.Generator(
                str(folder / CTRANSLATE2), compute_type=compute_type, inter_threads=side_by_side, intra_threads=threads
            )
            for side_by_side, threads, _ in divisions
        }
        self.divisions = divisions

    def generate(self, prompts: Prompts, new_tokens: int, sampling: Sampling) -> list[list[int]]:
        chosen: dict[str, Any] = {}
        if sampling.temperature:
            chosen = {
                "sampling_temperature": sampling.temperature,
                "sampling_topp": sampling.top_p,
                "sampling_topk": 0,
                "repetition_penalty": sampling.repetition_penalty,
            }
        side_by_side, threads, batch = self.division
        results = self.generators[side_by_side, threads].generate_batch(
            [[self.vocabulary[i] for i in prompt] for prompt in prompts],
            max_batch_size=batch,
            max_length=new_tokens,
            include_prompt_in_result=False,
            **chosen,
        )
        return [list(result.sequences_ids[0]) for result in results]


class OnnxRuntime:
    """A step as an ONNX graph, with its cache bound without copies. Sampling in NumPy, for the whole batch."""

    def __init__(self, folder: Path, cores: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = cores, 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(folder / ONNX), options, providers=["CPUExecutionProvider"])
        self.value = onnxruntime.OrtValue
        self.empty_cache = [size if isinstance(size, int) else 0 for size in self.session.get_inputs()[3].shape]
        self.random = np.random.default_rng()

    def generate(self, prompts: Prompts, new_tokens: int, sampling: Sampling) -> list[list[int]]:
        ids = np.array(prompts, np.int64)
        rows, length = ids.shape
        layers, two, _, heads, _, head_width = self.empty_cache
        cache = self.value.ortvalue_from_numpy(np.zeros((layers, two, rows, heads, 0, head_width), np.float32))
        mask = np.triu(np.full((length, length), -np.inf, np.float32), 1)
        used: NDArray[np.bool_] | None = None
        written = []
        for step in range(new_tokens):
            binding = self.session.io_binding()
            seen = length + step
            binding.bind_cpu_input("ids", ids)
            binding.bind_cpu_input("positions", np.arange(seen - ids.shape[1], seen))
            binding.bind_cpu_input("mask", mask if step == 0 else np.zeros((1, seen), np.float32))
            binding.bind_ortvalue_input("cache", cache)
            binding.bind_output("logits", "cpu")
            binding.bind_output("grown", "cpu")
            self.session.run_with_iobinding(binding)
            logits, cache = binding.get_outputs()
            if used is None:
                used = np.zeros((rows, logits.shape()[1]), bool)
            taken = self._choose(logits.numpy(), used, sampling)
            used[np.arange(rows), taken] = True
            written.append(taken)
            ids = taken[:, None]
        return np.stack(written, 1).tolist()  # type: ignore[no-any-return]

    def _choose(self, logits: NDArray[np.float32], used: NDArray[np.bool_], sampling: Sampling) -> NDArray[np.int64]:
        """logits (rows, vocab) to the next token of each row."""
        if not sampling.temperature:
            greedy: NDArray[np.int64] = logits.argmax(1)
            return greedy
        penalty = np.where(logits > 0, 1 / sampling.repetition_penalty, sampling.repetition_penalty)
        penalised = np.where(used, logits * penalty, logits) / sampling.temperature
        order = np.argsort(-penalised, axis=1)
        ordered = np.take_along_axis(penalised, order, 1)
        weights = np.exp(ordered - ordered[:, :1])
        reached = weights.cumsum(1)
        weights[reached - weights >= sampling.top_p * reached[:, -1:]] = 0
        reached = weights.cumsum(1)
        place = (reached <= self.random.random((len(logits), 1)) * reached[:, -1:]).sum(1)
        taken: NDArray[np.int64] = np.take_along_axis(order, place[:, None], 1)[:, 0]
        return taken


class NanoGPT:
    """nanoGPT's `generate`. It has no cache, and neither top-p nor a repetition penalty, so it has less to do."""

    def __init__(self, folder: Path, checkout: Path) -> None:
        self.model = nanogpt_model(load_checkpoint(folder / CHECKPOINT), checkout)

    def generate(self, prompts: Prompts, new_tokens: int, sampling: Sampling) -> list[list[int]]:
        chosen: dict[str, Any] = {"temperature": sampling.temperature} if sampling.temperature else {"top_k": 1}
        output = self.model.generate(torch.tensor(prompts), new_tokens, **chosen)
        return output[:, len(prompts[0]) :].tolist()  # type: ignore[no-any-return]


Make = Callable[[Path, int, int], Side]
"""Makes a side from a model's folder, a number of cores and a number of streams."""
OURS: dict[str, Make] = {
    **{
        f"ours, {weights}": lambda folder, cores, streams, weights=weights: Ours(  # type: ignore[misc]
            folder, cores, streams, "compiled", weights
        )
        for weights in ("float32", "bfloat16", "int8")
    },
    "ours, PyTorch": lambda folder, cores, streams: Ours(folder, cores, streams, "torch", "float32"),
}
PEERS: dict[str, Make] = {
    "transformers": lambda folder, _cores, _streams: Transformers(folder),
    "CTranslate2, float32": lambda folder, cores, streams: CTranslate2(folder, cores, streams, "float32"),
    "CTranslate2, int8": lambda folder, cores, streams: CTranslate2(folder, cores, streams, "int8"),
    "ONNX Runtime": lambda folder, cores, _streams: OnnxRuntime(folder, cores),
}
NANOGPT = "nanoGPT"
