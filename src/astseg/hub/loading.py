"""Finding a trained model by whatever name a user has for it."""

import threading
import urllib.error
import urllib.request
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from astseg._core.errors import AstSegError
from astseg.model.ast_seg import AstSeg
from astseg.model.serialization import CONFIG_FILE

HUB_SECONDS = 4.0
"""How long the model hub may take to answer; its own library tries for half a minute."""

SHIPPED = Path(__file__).parents[1] / "weights"
"""The models that come with astseg, a folder each, with a model card."""


def list_models() -> tuple[str, ...]:
    """Return the names of the models that come with astseg."""
    return tuple(sorted(folder.parent.name for folder in SHIPPED.glob(f"*/{CONFIG_FILE}")))


def load_model(where: Path | str) -> AstSeg:
    """Load a trained model.

    It is found in a training run's folder, in a model's folder, by the name of one that comes with astseg, or by a name
    on the model hub. A folder that holds a model goes before a name.

    The hub is asked once, and given up after `HUB_SECONDS` without an answer; a model that was had from it before is
    then taken as it was. With HF_HUB_OFFLINE it is not asked at all.

    Raises:
        AstSegError: there is no such model, it cannot be read, or the hub was not reached.
    """
    local = local_model(where)
    if local is None:
        return _from_hub(str(where))
    model: AstSeg = AstSeg.from_pretrained(local)
    return model


def local_model(where: Path | str) -> Path | None:
    """Return the folder of a model that is on this machine; None for a name that the hub may have.

    Raises:
        AstSegError: there is no such model, and it is no name that the hub may have either.
    """
    folder = Path(where)
    candidates = [folder, folder / "model"]
    if str(where) in list_models():
        candidates.append(SHIPPED / where)  # whatever else of that name is there, such as images of rooms
    for candidate in candidates:
        if (candidate / CONFIG_FILE).is_file():
            return candidate
    if folder.exists():
        raise AstSegError(
            f"{folder} holds no model: neither {CONFIG_FILE} nor model/{CONFIG_FILE} is there. "
            "Give the folder of a training run or of a saved model."
        )
    try:
        validate_repo_id(str(where))
    except HFValidationError as error:
        raise AstSegError(f"There is no model '{where}': no such folder. {_hint()}") from error
    if "/" not in str(where):  # a name on the hub has its owner in front, so there is nothing to ask for
        raise AstSegError(f"There is no model '{where}': no such folder. {_hint()}")
    return None


def _from_hub(name: str) -> AstSeg:
    offline = constants.HF_HUB_OFFLINE
    unreached = "it was not asked, since HF_HUB_OFFLINE is set" if offline else _unreached(name)
    nothing = f"There is no folder '{name}'"
    try:
        model: AstSeg = AstSeg.from_pretrained(name, local_files_only=unreached is not None)
    except LocalEntryNotFoundError as error:
        why = unreached or str(error).splitlines()[0]
        raise AstSegError(
            f"{nothing}, and no model of that name could be had from the model hub: {why}. {_hint()}"
        ) from error
    except GatedRepoError as error:
        raise AstSegError(
            f"{nothing}, and the model of that name on the model hub asks for a login: {error}."
        ) from error
    except RepositoryNotFoundError as error:
        raise AstSegError(
            f"{nothing}, and the model hub, which was asked, has no model of that name. {_hint()}"
        ) from error
    except EntryNotFoundError as error:
        raise AstSegError(
            f"{nothing}, and what the model hub has of that name is no astseg model. {_hint()}"
        ) from error
    except (HfHubHTTPError, OSError, ValueError, TypeError) as error:
        raise AstSegError(f"{nothing}, and the model hub did not hand out the model of that name: {error}.") from error
    return model


def _unreached(name: str) -> str | None:
    """Return why the hub cannot be reached, in words; None if it answers, whatever it says."""
    request = urllib.request.Request(f"{constants.ENDPOINT}/{name}/resolve/main/{CONFIG_FILE}", method="HEAD")
    found: list[str | None] = []

    def ask() -> None:
        try:
            urllib.request.urlopen(request, timeout=HUB_SECONDS).close()
        except urllib.error.HTTPError as error:
            broken = error.code >= 500  # its library would ask again and again
            found.append(f"{constants.ENDPOINT} answers with error {error.code}" if broken else None)
        except OSError as error:
            found.append(f"{constants.ENDPOINT} was not reached ({getattr(error, 'reason', error)})")
        else:
            found.append(None)

    # In a thread, because looking up a name takes as long as the system likes.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HUB_SECONDS)
    return found[0] if found else f"{constants.ENDPOINT} was not reached (no answer within {HUB_SECONDS:g} seconds)"


def _hint() -> str:
    hint = "Give the folder of a training run, as 'astseg train' writes it"
    names = list_models()
    return f"{hint}, or one of the models that come with astseg: {', '.join(names)}." if names else f"{hint}."
