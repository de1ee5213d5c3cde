"""What a user may name as a source: files, folders, patterns, lists, standard input, addresses and cameras."""

import glob
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from astseg._core.errors import AstSegError
from astseg._core.text import without_password
from astseg.cli._console import messages
from astseg.cli._inputs import Reading, open_images
from astseg.cli._progress import progress_by_name

if TYPE_CHECKING:
    from astseg.data.sources import Source

STANDARD_INPUT = "-"
MAX_STANDARD_INPUT = 1 << 28
"""In bytes, of a list or an image."""


def check_given(words: Sequence[str]) -> None:
    """Refuse a plain path to nothing, before anything slow is imported; `find_given` finds all other mistakes.

    Raises:
        AstSegError: there is no such file or folder.
    """
    for word in words:
        is_plain = word not in (STANDARD_INPUT, "") and ":" not in word and not glob.has_magic(word)
        if is_plain and not word.lower().endswith(".txt") and not os.path.lexists(word):
            raise AstSegError(f"There is no file or folder {word}.")


@contextmanager
def find_given(words: Sequence[str]) -> Iterator[list[Path]]:
    """Yield the files and folders that words name, which are there until the block ends.

    Addresses are fetched into the cache, and an image from standard input is written into a temporary folder.

    Raises:
        AstSegError: one of the words names nothing that can be had, or a folder of what astseg itself has made.
    """
    from astseg.data.folders import refuse_own_work
    from astseg.data.live import is_live

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="astseg-")))
        fetch = _fetcher(stack, words)
        places = []
        for word in words:
            if is_live(word):
                raise AstSegError(
                    f"{without_password(word)} is live video, which 'astseg segment' takes, and alone. Record it first."
                )
            found = _find(word, folder, fetch)
            if found == [Path(word)]:  # a pattern or a list may lead to anything
                refuse_own_work(found[0])
            places += found
        yield places


@contextmanager
def open_given(
    words: Sequence[str], every: int = 1, max_frames: int | None = None, *, watch: bool = False
) -> Iterator["Source"]:
    """Yield the source of images that words name, for as long as the block lasts; see `find_given`.

    Args:
        words: what the user wrote; one word may be live video.
        every: take only every n-th frame of videos.
        max_frames: take no more frames of each video than these.
        watch: wait for further images in the folder.

    Raises:
        AstSegError: there is no such source, or it cannot be read.
    """
    from astseg.data.live import LiveSource, is_live
    from astseg.data.watching import WatchedFolder

    _check_standard_input(words)
    if max_frames is not None and (watch or any(map(is_live, words))):
        raise AstSegError("--max-frames is for videos whose length is known. Omit it, and press Ctrl-C in time.")
    if watch:
        if len(words) > 1 or every > 1 or is_live(words[0]):
            raise AstSegError("--watch is for a single folder, without --every.")
        yield WatchedFolder(Path(words[0]))
    elif len(words) == 1 and is_live(words[0]):
        yield LiveSource(words[0], every)
    else:
        with find_given(words) as places:
            yield open_images(places, Reading(every, max_frames))


def _check_standard_input(words: Sequence[str]) -> None:
    if STANDARD_INPUT in words:
        from astseg._core.processes import launched_place

        if launched_place().count > 1:
            raise AstSegError("Each of several processes would get a part of standard input. Name a list.txt instead.")


def _fetcher(stack: ExitStack, words: Sequence[str]) -> Callable[[str], Path] | None:
    """Return what fetches addresses, which stay until the stack is closed; None if there are none."""
    from astseg.data.remote import DownloadCache, cache_folder, cache_limit, is_address

    if not any(map(is_address, words)):
        return None
    cache = stack.enter_context(DownloadCache(cache_folder(), cache_limit()))

    def fetch(address: str) -> Path:
        with progress_by_name("bytes", lambda name: f"Fetching {name}") as show:
            return cache.fetch(address, show)

    return fetch


def _find(word: str, folder: Path, fetch: Callable[[str], Path] | None) -> list[Path]:
    from astseg.data.remote import is_address
    from astseg.data.source_names import find_places

    if word == STANDARD_INPUT:
        return _read_standard_input(folder)
    if fetch is not None and is_address(word):
        return [fetch(word)]
    if "://" in word:
        raise AstSegError(
            f"{without_password(word)} is an address that astseg does not know. It takes http:// and https://, and for "
            "live video rtsp:// and live:http://."
        )
    return find_places(word)


def _read_standard_input(folder: Path) -> list[Path]:
    """Return the paths that come from standard input, or one path with the image that comes."""
    from astseg._core.image_files import is_image_file, read_image
    from astseg.data.source_names import parse_list

    if sys.stdin.isatty():
        messages.print("Type paths, one on each line; Ctrl-D ends them.", style="dim")
    content = sys.stdin.buffer.read(MAX_STANDARD_INPUT + 1)
    if len(content) > MAX_STANDARD_INPUT:
        raise AstSegError(f"Standard input should be paths or one image, of {MAX_STANDARD_INPUT} bytes at most.")
    file = folder / "stdin"
    file.write_bytes(content)
    if is_image_file(file):
        try:
            read_image(file)
        except AstSegError as error:
            raise AstSegError(str(error).replace(str(file), "The image from standard input")) from error
        return [file]
    try:
        return parse_list(content, "standard input")
    except AstSegError as error:
        raise AstSegError(f"{error} Or one image comes from it.") from error
