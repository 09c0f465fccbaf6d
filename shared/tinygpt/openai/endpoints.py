"""What `/docs` says about OpenAI's endpoints, which both services have."""

from tinygpt.http.endpoints import OR_STREAM, Endpoint
from tinygpt.openai.answers import ChatCompletion, Completion
from tinygpt.openai.models import OpenAIModel, OpenAIModelList

PREFIX = "/v1"

MODELS = Endpoint(
    path="/models",
    summary="The model that is served, by its alias and its id",
    response_model=OpenAIModelList,
)
MODEL = Endpoint(
    path="/models/{model}",
    summary="One of them",
    response_model=OpenAIModel,
)
COMPLETIONS = Endpoint(
    path="/completions",
    summary="Turn prompts into Python code",
    response_model=Completion,
    responses=OR_STREAM,
)
CHAT_COMPLETIONS = Endpoint(
    path="/chat/completions",
    summary="The last user message is the prompt",
    response_model=ChatCompletion,
    responses=OR_STREAM,
)
