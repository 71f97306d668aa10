"Features once: what is frozen need not be asked again."
import pytest

from lessonlib.precompute import precompute_mean


@pytest.mark.parametrize('values, mean', [([1, 2, 6], 3), ([4], 4), ([-1, 1], 0)])
def test_mean(values, mean): assert precompute_mean(values) == mean


def test_no_numbers():
    with pytest.raises(ValueError, match='give one or more'): precompute_mean([])
