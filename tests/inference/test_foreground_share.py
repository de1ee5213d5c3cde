import pytest

from astseg.inference.foreground_share import ForegroundShares

NOTHING = [0.0, 0.002, 0.001]
USUAL = [0.0, 0.06, 0.2]
CLOSE_BY = [0.05] * 19 + [0.7]  # a lorry before the lens, once
EVERYTHING = [0.05] * 8 + [0.7, 0.9]


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        (NOTHING, "The masks cover only 0.1 % of the pixels. Wait."),
        (USUAL, None),
        (CLOSE_BY, None),
        (EVERYTHING, "In 20 % of the images the mask takes more than half. Look."),
        ([0.3, 0.4], None),
        ([], None),
    ],
)
def test_what_is_said(shares: list[float], expected: str | None) -> None:
    found = ForegroundShares()
    for share in shares:
        found.add(share)
    assert found.note(if_empty="Wait.", if_full="Look.") == expected
    assert found.images == len(shares)
    assert not shares or found.mean == pytest.approx(sum(shares) / len(shares))
