"""Load a trained model by its folder, by its name, or from the model hub."""

import http.client
import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from astseg._core.errors import AstSegError
from astseg._core.file_names import CONFIG_FILE
from astseg.hub.names import SHIPPED_MODELS, how_to_name, list_models, local_model
from astseg.model.ast_seg import AstSeg

logger = logging.getLogger(__name__)

HUB_TIMEOUT = 4.0
"""Seconds in which the model hub must answer; its own library waits for half a minute."""


def load_model(where: Path | str, tell: Callable[[str], object] = logger.warning) -> AstSeg:
    """Load a trained model.

    It is given by the folder of a training run or of a model, by the name of a model that comes with astseg, or by a
    name on the model hub. A folder that holds a model takes precedence over a name, and the hub is not asked
    without a word. What begins with the name of a folder here is a path, for which it never is.

    If the hub does not answer within `HUB_TIMEOUT` seconds, or HF_HUB_OFFLINE is set, a copy from an earlier download
    is used.

    Args:
        where: a folder or a name.
        tell: called with a sentence before the hub is asked, and where a folder hides a model that comes with astseg;
            by default it is logged as a warning.

    Raises:
        AstSegError: there is no such model, it cannot be read, or the hub was not reached and there is no copy.
    """
    local = local_model(where)
    if local is None:
        if not constants.HF_HUB_OFFLINE:
            tell(f"There is no folder {where}; asking the model hub at {constants.ENDPOINT} for it.")
        return _from_hub(str(where))
    if str(where) in list_models() and local.parent != SHIPPED_MODELS:
        tell(f"The folder {where} is read; a model of that name comes with astseg, too.")
    model: AstSeg = AstSeg.from_pretrained(local)
    return model


def _from_hub(name: str) -> AstSeg:
    offline = constants.HF_HUB_OFFLINE
    unreached = "it was not asked, since HF_HUB_OFFLINE is set" if offline else _unreached(name)
    try:
        model: AstSeg = AstSeg.from_pretrained(name, local_files_only=unreached is not None)
    except (EntryNotFoundError, HfHubHTTPError, OSError, ValueError, TypeError, RecursionError) as error:
        match error:
            case LocalEntryNotFoundError():
                why = f"the model hub could not be used: {unreached or str(error).splitlines()[0]}. {how_to_name()}"
            case GatedRepoError():
                why = f"the model of that name on the model hub requires a login: {error}."
            case RepositoryNotFoundError():
                why = f"the model hub has no model of that name. {how_to_name()}"
            case EntryNotFoundError():
                why = f"what the model hub has of that name is not an astseg model. {how_to_name()}"
            case _:
                why = f"the model of that name could not be loaded from the model hub: {error}."
        raise AstSegError(f"There is no folder '{name}', and {why}") from error
    return model


def _unreached(name: str) -> str | None:
    """Return why the hub cannot be reached; None if it gives any usable answer."""
    address = f"{constants.ENDPOINT}/{name}/resolve/main/{CONFIG_FILE}"
    found: list[str | None] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(address, method="HEAD")
            urllib.request.urlopen(request, timeout=HUB_TIMEOUT).close()
        except urllib.error.HTTPError as error:
            broken = error.code >= 500  # its library would keep retrying
            found.append(f"{constants.ENDPOINT} answers with error {error.code}" if broken else None)
        except (OSError, ValueError, http.client.HTTPException) as error:
            found.append(f"{constants.ENDPOINT} was not reached ({getattr(error, 'reason', error)})")
        else:
            found.append(None)

    # In a thread, because looking up the address has no timeout.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HUB_TIMEOUT)
    return found[0] if found else f"{constants.ENDPOINT} was not reached (no answer within {HUB_TIMEOUT:g} seconds)"
