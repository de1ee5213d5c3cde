from itertools import pairwise

import pytest

from astseg._core.sampling import evenly_spaced


@pytest.mark.parametrize(("count", "limit"), [(0, 5), (1, 5), (4, 5), (5, 5), (6, 5), (1000, 7), (1000, 999), (9, 1)])
def test_evenly_spaced(count: int, limit: int) -> None:
    indices = evenly_spaced(count, limit).tolist()
    gaps = [after - before for before, after in pairwise(indices)]
    assert len(indices) == min(count, limit)
    assert indices[:1] == [0][:count]
    if gaps:
        assert indices[-1] == count - 1
        assert 1 <= min(gaps) <= max(gaps) <= min(gaps) + 1
