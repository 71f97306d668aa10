"When it does not know."
import pytest

from lessonlib.doubt import doubt_mean


@pytest.mark.parametrize('values, mean', [([1, 2, 6], 3), ([4], 4), ([-1, 1], 0)])
def test_mean(values, mean): assert doubt_mean(values) == mean


def test_no_numbers():
    with pytest.raises(ValueError, match='give one or more'): doubt_mean([])
