"""Find a trained model on this machine by its folder or its name; importing this imports nothing slow."""

from difflib import get_close_matches
from pathlib import Path

from astseg._core.arguments import as_path
from astseg._core.errors import AstSegError, ModelNotFoundError
from astseg._core.file_names import CONFIG_FILE

SHIPPED_MODELS = Path(__file__).parents[1] / "weights"
"""The models that come with astseg, each in a folder with a model card."""


def list_models() -> tuple[str, ...]:
    """Return the names of the models that come with astseg."""
    return tuple(sorted(folder.parent.name for folder in SHIPPED_MODELS.glob(f"*/{CONFIG_FILE}")))


def local_model(where: Path | str) -> Path | None:
    """Return the folder of a model that is on this machine; None for a name that the hub may have.

    Raises:
        AstSegError: there is no such model, and the hub can have none of this name, or it begins with that of a folder.
    """
    folder = as_path("a model's folder or name", where)
    candidates = [folder, folder / "model"]
    if str(where) in list_models():
        candidates.append(SHIPPED_MODELS / where)  # even if there is another folder of that name, such as one of images
    try:
        for candidate in candidates:
            if (candidate / CONFIG_FILE).is_file():
                return candidate
        exists = folder.exists()
    except OSError as error:  # its name is too long, or it may not be entered
        raise AstSegError(f"Cannot look for a model in {folder}: {error.strerror}.") from error
    if exists:
        raise AstSegError(
            f"{folder} holds no model: neither {CONFIG_FILE} nor model/{CONFIG_FILE} is there. "
            "Give the folder of a training run or of a saved model."
        )
    owner, slash, name = str(where).partition("/")
    if slash and _may_be_on_hub(str(where)):
        if Path(owner).is_dir():
            raise _mistyped(owner, name)
        return None
    raise ModelNotFoundError(f"There is no model '{where}': no such folder. {how_to_name()}")


def _mistyped(owner: str, name: str) -> ModelNotFoundError:
    """Return the error for a path with a mistake in it, which no server has to learn of."""
    near = get_close_matches(name, [path.name for path in Path(owner).iterdir() if path.is_dir()], n=1)
    nearest = f" Did you mean '{owner}/{near[0]}'?" if near else ""
    return ModelNotFoundError(
        f"There is no '{name}' in the folder {owner}.{nearest} The model hub is not asked for it, since the name "
        "begins with that of a folder here."
    )


def _may_be_on_hub(name: str) -> bool:
    """Tell whether the model hub could have a model of this name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def how_to_name() -> str:
    """Return what the name of a model can be, as a sentence."""
    hint = "Give the folder of a training run"
    names = list_models()
    return f"{hint}, or one of the models that come with astseg: {', '.join(names)}." if names else f"{hint}."
