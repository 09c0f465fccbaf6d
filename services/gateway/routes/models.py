"""`/models`: list the trained models, and choose the served one."""

from fastapi import APIRouter

from services.gateway.context import GatewayDep, requires
from tinygpt.contracts.errors import NotFound
from tinygpt.contracts.models import CurrentModel, ModelInfo, ModelList

router = APIRouter(tags=["models"])


@router.get("/models", summary="Every trained model, and which one is served", dependencies=[requires("generate")])
def newest(gateway: GatewayDep) -> ModelList:
    current = gateway.volume.current()
    models = [
        ModelInfo(
            model_id=manifest.run_id,
            current=current is not None and manifest.run_id == current.run_id,
            created_at=manifest.created_at,
            dataset_id=manifest.dataset_id,
            metrics=manifest.metrics,
            evaluation=manifest.evaluation,
            hyperparameters=manifest.hyperparameters,
        )
        for manifest in gateway.volume.manifests()
    ]
    return ModelList(models=sorted(models, key=lambda model: model.created_at, reverse=True))


@router.post("/models/{run_id}/promote", summary="Serve this model", dependencies=[requires("train")])
def promote(run_id: str, gateway: GatewayDep) -> CurrentModel:
    """The id `previous` is the model that was served before. The model servers follow within seconds."""
    if run_id == "previous":
        current = gateway.volume.current()
        if current is None or current.previous is None:
            raise NotFound("No model was served before this one, so there is none to go back to.")
        run_id = current.previous
    return gateway.volume.promote(run_id)
