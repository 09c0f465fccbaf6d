"""`POST /datasets`: validate rows while they are received, and store them under the hash of their content."""

from typing import Annotated, BinaryIO, Literal

from fastapi import APIRouter, Query, Request

from services.gateway.body import first_chunk, read_in_thread
from services.gateway.context import GatewayDep, requires
from tinygpt.contracts.datasets import DatasetCard
from tinygpt.contracts.errors import InvalidDataset, UnsupportedMediaType
from tinygpt.data.store import scanned_body, store_dataset
from tinygpt.data.validation import DEFAULT_CONTEXT_LENGTH

router = APIRouter(tags=["data"])

_HOW = "send the file as the body: curl --data-binary @rows.jsonl"
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-ndjson": {
                "schema": {"type": "string", "format": "binary"},
                "example": '{"prompt": "reverse the list nums", "code": "nums[::-1]"}\n'
                '{"prompt": "last item of nums", "code": "nums[-1]"}\n',
            },
            "text/csv": {"example": "prompt,code\nreverse the list nums,nums[::-1]\n"},
        },
    }
}


@router.post(
    "/datasets",
    summary="Upload rows (JSONL, CSV or SQLite) and get the validation report",
    status_code=201,
    openapi_extra=_BODY,
    dependencies=[requires("train")],
)
async def upload(
    request: Request,
    gateway: GatewayDep,
    name: Annotated[str, Query(max_length=80, pattern=r"^[\w .-]+$", description="For people.")] = "upload",
    format: Annotated[Literal["jsonl", "csv", "sqlite"], Query(description="Format of the body.")] = "jsonl",
    context_length: Annotated[
        int, Query(ge=16, le=4096, description="Rows longer than this many tokens are errors.")
    ] = DEFAULT_CONTEXT_LENGTH,
    skip_bad_rows: Annotated[bool, Query(description="Store the good rows although some are bad.")] = False,
) -> DatasetCard:
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise UnsupportedMediaType(f"A form is not read here: {_HOW}.", param="Content-Type")
    stream = request.stream()
    first = await first_chunk(stream)
    if not first:
        raise InvalidDataset(f"The body is empty: {_HOW}.", param="body")

    def store(body: BinaryIO) -> DatasetCard:
        with scanned_body(body, format, gateway.volume.datasets) as rows:
            return store_dataset(
                gateway.volume.datasets, rows, name=name, context_length=context_length, skip_bad_rows=skip_bad_rows
            )

    return await read_in_thread(first, stream, store)
