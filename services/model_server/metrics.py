"""Metrics of decoding. Their names are vLLM's, after the prefix `tinygpt_`."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tinygpt.contracts.errors import TinyGPTError
from tinygpt.contracts.generation import GenerateResponse
from tinygpt.inference.sequence import Finished

_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_TOKEN_LATENCY = (0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)


class DecodingMetrics:
    """A sequence is one of a request's `n` answers. Latencies are per sequence, from its arrival at the engine."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._first_token = self._seconds("time_to_first_token", "Arrival to first token.")
        self._output_token = self._seconds(
            "time_per_output_token", "From one token to the next, mean of a sequence.", buckets=_TOKEN_LATENCY
        )
        self._latency = self._seconds("e2e_request_latency", "Arrival to last token.")
        self._queue = self._seconds("request_queue_time", "Waiting for a slot.")
        self._prefill = self._seconds("request_prefill_time", "Reading the prompt.")
        self._decode = self._seconds("request_decode_time", "Writing the answer.")
        self._prompt_tokens = self._counter(
            "prompt_tokens", "Tokens of prompts that were read, by each of `n` answers."
        )
        self._generation_tokens = self._counter("generation_tokens", "Tokens written.")
        self._success = self._counter("request_success", "Sequences by their end.", "finished_reason")
        self._answers = self._counter("answers", "Answers by their source.", "source")
        self._loads = self._counter("model_loads", "Models loaded, by outcome.", "outcome")
        self._load_seconds = self._seconds("model_load", "From the checkpoint on disk to a warm model.")

    def watch(self, *, running: Callable[[], int], waiting: Callable[[], int], slots: Callable[[], int]) -> None:
        """Read these whenever `/metrics` is requested."""
        self._gauge("num_requests_running", "Sequences in a slot.").set_function(running)
        self._gauge("num_requests_waiting", "Sequences waiting for a slot.").set_function(waiting)
        self._gauge("slots", "Slots of the model that is served.").set_function(slots)
        self._gauge("slot_usage_ratio", "Sequences in a slot, as a share of the slots.").set_function(
            lambda: running() / max(1, slots())
        )

    def ended(self, sequence: Finished | TinyGPTError) -> None:
        """Count a sequence that ended, successfully or with an error."""
        if isinstance(sequence, TinyGPTError):
            self._success.labels("error").inc()
            return
        self._success.labels(sequence.finish_reason).inc()
        self._prompt_tokens.inc(sequence.prompt_tokens)
        self._generation_tokens.inc(sequence.completion_tokens)
        self._queue.observe(sequence.queue_seconds)
        self._prefill.observe(sequence.prefill_seconds)
        self._decode.observe(sequence.decode_seconds)
        total = sequence.queue_seconds + sequence.prefill_seconds + sequence.decode_seconds
        self._latency.observe(total)
        if sequence.first_token_seconds is not None:
            self._first_token.observe(sequence.first_token_seconds)
            if sequence.completion_tokens > 1:
                self._output_token.observe(
                    (total - sequence.first_token_seconds) / (sequence.completion_tokens - 1),
                )

    def answered(self, answer: GenerateResponse) -> None:
        """Count the answers of a request."""
        for choice in answer.choices or [answer]:
            self._answers.labels(choice.source).inc()

    def loaded(self, seconds: float) -> None:
        self._loads.labels("ok").inc()
        self._load_seconds.observe(seconds)

    def not_loaded(self) -> None:
        self._loads.labels("failed").inc()

    def _seconds(self, name: str, meaning: str, *, buckets: tuple[float, ...] = _LATENCY) -> Histogram:
        return Histogram(f"tinygpt_{name}_seconds", meaning, buckets=buckets, registry=self._registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"tinygpt_{name}_total", meaning, labels, registry=self._registry)

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(f"tinygpt_{name}", meaning, registry=self._registry)
