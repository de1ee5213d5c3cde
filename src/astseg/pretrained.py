"""Finding a trained model by whatever name a user has for it."""

from pathlib import Path

from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from astseg.errors import UserError
from astseg.model.ast_seg import CONFIG_FILE, AstSeg

SHIPPED = Path(__file__).parent / "weights"
"""The models that come with astseg, a folder each, with a model card."""


def shipped_models() -> tuple[str, ...]:
    """The names of the models that come with astseg."""
    return tuple(sorted(folder.parent.name for folder in SHIPPED.glob(f"*/{CONFIG_FILE}")))


def load_model(where: Path | str) -> AstSeg:
    """Load a model from a training run's folder, a model's folder, by the name of one that comes with astseg, or by a
    name on the model hub. A folder that holds a model goes before a name.

    Raises:
        UserError: there is no such model, or it cannot be read.
    """
    folder = Path(where)
    candidates = [folder, folder / "model"]
    if str(where) in shipped_models():
        candidates.append(SHIPPED / where)  # whatever else of that name is there, such as pictures of rooms
    for candidate in candidates:
        if (candidate / CONFIG_FILE).is_file():
            model: AstSeg = AstSeg.from_pretrained(candidate)
            return model
    if folder.exists():
        raise UserError(
            f"{folder} holds no model: neither {CONFIG_FILE} nor model/{CONFIG_FILE} is there. "
            "Give the folder of a training run or of a saved model."
        )
    hint = "Give the folder of a training run, as 'astseg train' writes it"
    if names := shipped_models():
        hint += f", or one of the models that come with astseg: {', '.join(names)}"
    if "/" not in str(where):  # a name on the hub has its owner in front, so there is nothing to ask for
        raise UserError(f"There is no model '{where}': no such folder. {hint}.")
    try:
        model = AstSeg.from_pretrained(str(where))
    except (HFValidationError, HfHubHTTPError, OSError, ValueError, TypeError) as error:
        raise UserError(
            f"There is no model '{where}': no such folder, and none of that name could be had from the model hub. "
            f"{hint}."
        ) from error
    return model
