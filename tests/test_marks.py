"Marks for a class."
import pytest

from lessonlib.marks import marks_mean


@pytest.mark.parametrize('values, mean', [([1, 2, 6], 3), ([4], 4), ([-1, 1], 0)])
def test_mean(values, mean): assert marks_mean(values) == mean


def test_no_numbers():
    with pytest.raises(ValueError, match='give one or more'): marks_mean([])
