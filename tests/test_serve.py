"Serving: a page that answers."
import pytest

from lessonlib.serve import serve_mean


@pytest.mark.parametrize('values, mean', [([1, 2, 6], 3), ([4], 4), ([-1, 1], 0)])
def test_mean(values, mean): assert serve_mean(values) == mean


def test_no_numbers():
    with pytest.raises(ValueError, match='give one or more'): serve_mean([])
