"""Values as text for people."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

ENCODING_ERRORS = "backslashreplace"
"""How text files write file names that are not valid UTF-8."""
MARKDOWN_MARKS = re.compile(
    r"[\\`*<>|~$@]|\](?=[(\[:])|&(?=[\w#])|(?<!\w)_|_(?!\w)|(?:(?<=http)|(?<=https)):|(?<=www)\.|^[#+-]", re.IGNORECASE
)
"""What begins emphasis, links, HTML, tables, code, formulas, mentions, lists and headings, and addresses, which some
readers make links of."""


def printable(text: str) -> str:
    r"""Return a text in which nothing moves the cursor, colors, links, breaks lines or turns the direction of writing.

    Names of files may hold any of these. They are shown as Python's escapes, and so are invisible characters.

    >>> print(printable("a\x1b[31m.png\nb"), printable("Æsop ☺ \u202egnp.exe"))
    a\x1b[31m.png\nb Æsop ☺ \u202egnp.exe
    """
    return "".join(_escape(character) if _is_hidden(character) else character for character in text)


def as_utf8(name: str) -> str:
    r"""Return a file's name with bytes that are no UTF-8, as in old archives, written as escapes.

    >>> as_utf8("caf\udce9"), as_utf8("café")
    ('caf\\xe9', 'café')
    """
    return name.encode(errors="surrogateescape").decode(errors=ENCODING_ERRORS)


def folded(name: str) -> str:
    """Return what all spellings of a file's name have in common that some disks take for one.

    >>> folded("Café") == folded("CAFE\u0301")
    True
    """
    return unicodedata.normalize("NFC", name).casefold()


def escape_markdown(text: str) -> str:
    r"""Return a text for one line of Markdown in which nothing has a meaning.

    >>> print(escape_markdown("<b>|*a*|[x](http://y)"))
    \<b\>\|\*a\*\|[x\](http\://y)
    """
    return MARKDOWN_MARKS.sub(r"\\\g<0>", printable(text))


def _is_hidden(character: str) -> bool:
    kind = unicodedata.category(character)
    # Joiners belong to the writing of some languages, and to emoji.
    return kind in ("Cc", "Zl", "Zp", "Cs") or (kind == "Cf" and character not in "\u200c\u200d")


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def first_names(names: Sequence[str], most: int = 3) -> str:
    """Return the first few names, and how many more there are.

    >>> first_names(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def format_bytes(count: float) -> str:
    """Return a number of bytes in GB, or where that would be nothing, in MB or in bytes.

    >>> format_bytes(7.23e9), format_bytes(3.4e6), format_bytes(768)
    ('7.2 GB', '3.4 MB', '768 bytes')
    """
    if count < 1e5:
        return f"{count:.0f} bytes"
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def format_duration(seconds: float) -> str:
    """Return a time in suitable units.

    >>> format_duration(7.26), format_duration(129.7), format_duration(7265)
    ('7.3 s', '2 min 10 s', '2 h 01 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def format_value(value: Any) -> str:
    """Return a setting, or the shape of an image or array, as text.

    >>> format_value(None), format_value(True), format_value(1e-3), format_value((96, 128))
    ('none', 'yes', '0.001', '96x128')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "x".join(map(format_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def without_password(address: str) -> str:
    """Return an address without the name and the passwords that may be in it, for messages and results.

    >>> without_password("rtsp://me:secret@camera/1"), without_password("camera:0")
    ('rtsp://camera/1', 'camera:0')
    >>> without_password("rtsp://camera/user=me&password=secret&channel=1"), without_password("https://h.org?m=a@b")
    ('rtsp://camera/user=me&password=***&channel=1', 'https://h.org?m=a@b')
    """
    scheme, mark, rest = address.partition("//")
    if not mark:
        return address
    server, *path = re.split(r"(?=[/?#])", rest, maxsplit=1)
    shown = scheme + mark + server.rpartition("@")[2] + "".join(path)
    return re.sub(r"(?i)\b((?:pass|passwd|password|pwd|token|secret|api_?key)=)[^&/]+", r"\1***", shown)
