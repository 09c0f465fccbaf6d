"""OpenAI's list of models, and the names that a request may give."""

from typing import Literal

from pydantic import BaseModel, Field

from tinygpt.contracts.errors import ModelNotFound
from tinygpt.contracts.models import LoadedModel

ALIAS = "tinygpt"
"""The name of the model that is served now, whichever that is."""


class OpenAIModel(BaseModel):
    """`GET /v1/models/{model}`."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="Seconds since the epoch.")
    owned_by: str = ALIAS


class OpenAIModelList(BaseModel):
    """`GET /v1/models`."""

    object: Literal["list"] = "list"
    data: list[OpenAIModel]


def list_models(served: LoadedModel) -> OpenAIModelList:
    """The served model under both of its names: the alias and its id."""
    return OpenAIModelList(data=[find_model(name, served) for name in (ALIAS, served.model_id)])


def find_model(name: str, served: LoadedModel) -> OpenAIModel:
    """Raises `ModelNotFound`."""
    require_served(name, served)
    return OpenAIModel(id=name, created=int(served.loaded_at))


def require_served(name: str | None, served: LoadedModel) -> None:
    """Raises `ModelNotFound` if a request names another model than the one that is served."""
    if name not in (None, ALIAS, served.model_id):
        raise ModelNotFound(
            f"The model {name!r} is not served here: ask for {ALIAS!r} or {served.model_id!r}.", param="model"
        )
