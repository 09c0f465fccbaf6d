"""`POST /datasets`: stream rows to disk, validate them, and store them under the hash of their content."""

import tempfile
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from services.gateway.context import GatewayDep, requires
from tinygpt.contracts.datasets import DatasetCard
from tinygpt.contracts.errors import InvalidDataset, UnsupportedMediaType
from tinygpt.data.store import store_dataset
from tinygpt.data.validation import DEFAULT_CONTEXT_LENGTH
from tinygpt.durable import storage_errors

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
    incoming = gateway.volume.datasets
    with storage_errors(incoming / name):
        incoming.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=incoming, prefix=".upload-") as folder:
            path = Path(folder) / f"rows.{format}"
            with path.open("wb") as file:
                async for chunk in request.stream():
                    await run_in_threadpool(file.write, chunk)
            if path.stat().st_size == 0:
                raise InvalidDataset(f"The body is empty: {_HOW}.", param="body")
            return await run_in_threadpool(
                store_dataset,
                incoming,
                path,
                name=name,
                format=format,
                context_length=context_length,
                skip_bad_rows=skip_bad_rows,
            )
