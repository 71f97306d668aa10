"Several processes, and data beyond memory."
import pytest

from lessonlib.processes import processes_mean


@pytest.mark.parametrize('values, mean', [([1, 2, 6], 3), ([4], 4), ([-1, 1], 0)])
def test_mean(values, mean): assert processes_mean(values) == mean


def test_no_numbers():
    with pytest.raises(ValueError, match='give one or more'): processes_mean([])
