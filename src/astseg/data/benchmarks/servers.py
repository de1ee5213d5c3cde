"""What servers of files are asked over http: what they say of a file, and a file whose length they do not say."""

import base64
import http.client
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from astseg._core.errors import AstSegError
from astseg._core.text import without_password

CHUNK_SIZE = 1 << 18
TIMEOUT_SECONDS = 60
HEAD_REFUSED = (403, 405, 501)
"""What servers answer that send files, but not their headers alone."""
UNQUOTED = "/%:@!$&'()*+,;=?~"
"""What may stand in the path and the query of an address, beside letters and digits."""
DAMAGED_ANSWER = "its answer is damaged"


class _WebRedirects(urllib.request.HTTPRedirectHandler):
    """Goes where a server leads to, but to no other kind of address, as urllib would to ftp."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not re.match("https?://", newurl, re.IGNORECASE):
            reason = f"it leads to {without_password(newurl)}, and only http and https are followed"
            raise urllib.error.HTTPError(newurl, code, reason, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage
    ) -> http.client.HTTPResponse | None:
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError:  # it leads to what is no address
            fp.close()
            raise

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


@contextmanager
def unanswered_told(address: str) -> Iterator[None]:
    """Tell what goes wrong in a block that asks a server.

    Raises:
        AstSegError: the server does not answer, or has no such file; or the address is none.
    """
    try:
        yield
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise AstSegError(f"{without_password(address)} does not answer: {error}. Is the address correct?") from error


def request_for(address: str, method: str = "GET") -> urllib.request.Request:
    """Return a request for a file; a name and a password in its address are sent as HTTP's basic authentication.

    They are sent to its server alone, and not to another one that it may lead to.

    Raises:
        ValueError: the address is none.
    """
    parts = urllib.parse.urlsplit(address)
    user, _, server = parts.netloc.rpartition("@")
    host, *port = server.rsplit(":", 1) if not server.endswith("]") else (server,)
    # As browsers show an address, it may have letters and spaces that none is sent with.
    ascii_host = host if host.isascii() else host.encode("idna").decode()
    path, query = (urllib.parse.quote(part, safe=UNQUOTED) for part in (parts.path, parts.query))
    sent = parts._replace(netloc=":".join((ascii_host, *port)), path=path, query=query)
    request = urllib.request.Request(urllib.parse.urlunsplit(sent), method=method)
    if user:
        credentials = base64.b64encode(urllib.parse.unquote(user).encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {credentials}")
    return request


@contextmanager
def open_answer(request: urllib.request.Request) -> Iterator[http.client.HTTPResponse]:
    """Yield the answer of a server, open until the block ends; read it by `read_answer`.

    Raises:
        URLError, ConnectionError, TimeoutError: the server does not answer, or has no such file.
        http.client.HTTPException: its answer is damaged.
    """
    try:
        answer = urllib.request.build_opener(_WebRedirects).open(request, timeout=TIMEOUT_SECONDS)
    except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise
    except OSError as error:
        raise ConnectionError(str(error)) from error
    except (http.client.BadStatusLine, ValueError) as error:  # no HTTP, or it leads to what is no address
        raise http.client.HTTPException(DAMAGED_ANSWER) from error
    with answer:
        yield answer


def read_answer(answer: http.client.HTTPResponse, most: int) -> bytes:
    """Read on, so many bytes at most; none if the answer has ended.

    Raises:
        ConnectionError: the connection broke off: of TLS, of a network that has gone, ..., unlike an `OSError` of the
            disk.
        http.client.HTTPException: the answer is damaged, or ends before its length.
    """
    try:
        return answer.read(most)
    except OSError as error:
        raise ConnectionError(str(error)) from error
    except ValueError as error:  # a chunk of a length below 0
        raise http.client.HTTPException(DAMAGED_ANSWER) from error


def ask_headers(address: str, *, may_ask_for_file: bool = True) -> http.client.HTTPMessage:
    """Return what a server says of a file.

    Args:
        address: of the file.
        may_ask_for_file: whether a server that refuses to say this alone, or does not say the length, is asked for the
            file, of which nothing is read.

    Raises:
        OSError: the server does not answer, or has no such file.
        http.client.HTTPException: its answer is damaged.
        ValueError: the address is none.
    """
    try:
        headers = _headers(request_for(address, method="HEAD"))
        if headers.get("Content-Length", "0") != "0" or not may_ask_for_file:
            return headers
    except urllib.error.HTTPError as error:
        if error.code not in HEAD_REFUSED or not may_ask_for_file:
            raise
    return _headers(request_for(address))


def _headers(request: urllib.request.Request) -> http.client.HTTPMessage:
    with open_answer(request) as answer:
        headers: http.client.HTTPMessage = answer.headers
        return headers


def fetch_unsized(address: str, path: Path, max_bytes: int, report: Callable[[int], None]) -> int:
    """Download a file whose server does not say how large it is, from its beginning.

    Args:
        address: of the file.
        path: where to write it; what is left there after an error is not whole.
        max_bytes: the largest file to fetch.
        report: called with the number of bytes fetched so far.

    Returns:
        The number of its bytes.

    Raises:
        AstSegError: the server does not answer, or breaks off; or the file is too large.
        OSError: the file cannot be written.
    """
    shown = without_password(address)

    def read() -> bytes:
        try:
            return read_answer(answer, CHUNK_SIZE)
        except (http.client.HTTPException, ConnectionError) as error:
            raise AstSegError(f"The download of {shown} broke off: {error}. Try again.") from error

    with ExitStack() as stack:
        with unanswered_told(address):
            answer = stack.enter_context(open_answer(request_for(address)))
        target = stack.enter_context(path.open("wb"))
        while chunk := read():
            target.write(chunk)
            report(target.tell())
            if target.tell() > max_bytes:
                raise too_large(shown, "has more than it should", max_bytes)
        return target.tell()


def too_large(shown: str, size: str, max_bytes: int) -> AstSegError:
    """Return an error about a file that is larger than those that are fetched.

    Args:
        shown: its address, as it may be shown.
        size: how large it is, as the rest of a sentence about it.
        max_bytes: the largest that is fetched.
    """
    return AstSegError(
        f"{shown} {size}; at most {max_bytes / 1e9:.1f} GB are fetched. If it is what you want, download it yourself."
    )
