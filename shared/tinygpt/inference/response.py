"""From the outputs of sequences to what a client gets: the deltas of a stream, and the response."""

from collections.abc import Sequence

from tinygpt.contracts.generation import (
    Choice,
    GenerateDelta,
    GenerateRequest,
    GenerateResponse,
    Timings,
    TokenLogprob,
    TopToken,
    Usage,
)
from tinygpt.data.tokenizer import Tokenizer
from tinygpt.inference.sequence import Finished, SequenceOutput


def delta_of(output: SequenceOutput, request: GenerateRequest, index: int, tokenizer: Tokenizer) -> GenerateDelta:
    """The output of the request's choice number `index`, for its stream."""
    return GenerateDelta(
        index=index,
        text=output.text,
        logprobs=_logprobs(output, tokenizer) if request.logprobs is not None else None,
        finish_reason=_finished(output).finish_reason if output.end is not None else None,
    )


def raw_choice(sequence: SequenceOutput, request: GenerateRequest, tokenizer: Tokenizer) -> Choice:
    """The text of a finished sequence as the answer, neither judged nor repaired."""
    return Choice(
        code=sequence.text,
        raw=sequence.text,
        source="model",
        finish_reason=_finished(sequence).finish_reason,
        repaired=False,
        logprobs=_logprobs(sequence, tokenizer) if request.logprobs is not None else None,
    )


def response_of(sequences: Sequence[SequenceOutput], choices: Sequence[Choice], *, model_id: str) -> GenerateResponse:
    """The response with these choices, one for each finished sequence of the request."""
    ends = [_finished(sequence) for sequence in sequences]
    return GenerateResponse(
        **dict(choices[0]),
        model=model_id,
        usage=Usage(
            prompt_tokens=ends[0].prompt_tokens,
            completion_tokens=sum(end.completion_tokens for end in ends),
        ),
        timings=Timings(
            queue=_microseconds(max(end.queue_seconds for end in ends)),
            prefill=_microseconds(max(end.prefill_seconds for end in ends)),
            decode=_microseconds(max(end.decode_seconds for end in ends)),
            first_token=min(
                (_microseconds(end.first_token_seconds) for end in ends if end.first_token_seconds is not None),
                default=None,
            ),
        ),
        choices=list(choices) if len(choices) > 1 else None,
    )


def _logprobs(output: SequenceOutput, tokenizer: Tokenizer) -> list[TokenLogprob]:
    def name(token: int) -> str:
        (name,) = tokenizer.token_names([token])
        return name

    tops = output.top or [()] * len(output.ids)
    return [
        TokenLogprob(
            token=name(token),
            id=token,
            logprob=logprob,
            top=[TopToken(token=name(other), id=other, logprob=its) for other, its in top],
        )
        for token, logprob, top in zip(output.ids, output.logprobs, tops, strict=True)
    ]


def _finished(sequence: SequenceOutput) -> Finished:
    assert isinstance(sequence.end, Finished)
    return sequence.end


def _microseconds(seconds: float) -> float:
    """Rounded to microseconds."""
    return round(seconds, 6)
