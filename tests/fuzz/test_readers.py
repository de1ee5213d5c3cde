"""A minute of `python -m tests.fuzz`, and the cases that it once found."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.mutations import OPERATIONS, Edit, apply_edits
from tests.fuzz.readers import READERS, Reader, digest, legitimate, read_seeds

EXAMPLES = 20
EDITS = st.lists(
    st.builds(Edit, st.integers(0, len(OPERATIONS) - 1), st.floats(0, 1), st.integers(0, 65535)), min_size=1, max_size=4
)


def test_the_documentation_counts_the_readers() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text("utf-8")
    (count,) = re.findall(r"of each of the (\d+) readers", page)
    assert int(count) == len(READERS)
    table = page.partition("| files | tried | refused |")[2].partition("\n\n")[0].splitlines()[2:]
    *parts, total = ([int(cell.strip(" *")) for cell in row.strip("|").split("|")[1:]] for row in table)
    assert [sum(column) for column in zip(*parts, strict=True)] == total
    assert total[0] == 5000 * len(READERS) + 15_000, "of `.npz` four times as many"
    for tried, *ends in parts:
        assert tried == sum(ends)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_damaged_file_is_refused_in_a_sentence_or_read(reader: Reader, tmp_path: Path) -> None:
    seeds, expected = read_seeds(reader, tmp_path)
    file = tmp_path / reader.file

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.integers(0, len(seeds) - 1), EDITS)
    def damage(chosen: int, edits: list[Edit]) -> None:
        file.write_bytes(apply_edits(seeds[chosen], edits))
        try:
            found = digest(reader.read(file))
        except Exception as error:
            if not legitimate(error):
                raise
        else:
            assert found == expected[chosen] or not reader.checked

    damage()
