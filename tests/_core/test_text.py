import pytest

from astseg._core.text import escape_markdown, format_duration, printable


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0.0 s"), (59.96, "1 min 00 s"), (3599.6, "1 h 00 min"), (90061, "25 h 01 min")]
)
def test_duration(seconds: float, words: str) -> None:
    assert format_duration(seconds) == words


@pytest.mark.parametrize(
    "name",
    [
        "a\x1b[31mred",
        "\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\",
        "one\ntwo",
        "one\rtwo",
        "\x9b31m",
        "\u202egnp.exe",
        "\u2066a\u2069",
        "\u200bzero",
        "\u2028line",
        "\ufefforder",
        "\udcff",
        "\x07bell\x08",
        "\U000e0041tag",
    ],
)
def test_nothing_of_a_name_controls_the_terminal(name: str) -> None:
    shown = printable(name)
    assert shown != name
    assert all(character.isprintable() for character in shown)
    assert printable(shown) == shown


@pytest.mark.parametrize(
    "name", ["plain.png", "Æsop ☺.jpg", "日本語", "नमस्ते", "👨\u200d👩\u200d👧", "a\\b", "[red]x[/]", "שלום"]
)
def test_other_names_stay_as_they_are(name: str) -> None:
    assert printable(name) == name


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain objects_room, 3 x 4 (test)", "plain objects_room, 3 x 4 (test)"),
        ("[x](http://e)", r"[x\](http\://e)"),
        ("![x](y)", r"![x\](y)"),
        ("[a][b] [c]: d [e]", r"[a\][b] [c\]: d [e]"),
        ("<script>", r"\<script\>"),
        ("a|b", r"a\|b"),
        ("*a* _b_ ~~c~~ `d`", r"\*a\* \_b\_ \~\~c\~\~ \`d\`"),
        ("# head", r"\# head"),
        ("&lt;", r"\&lt;"),
        ("two\nlines\n\n# x", r"two\\nlines\\n\\n# x"),
        ("https://a www.b.c @d $e$", r"https\://a www\.b.c \@d \$e\$"),
    ],
)
def test_markdown(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped
