"Film reviews, written: twins, layouts, and what a bag of words can know."
import csv
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessonlib.written_reviews import Review, make_review_table, make_reviews, plan_reviews

pytestmark = pytest.mark.quick


def words(review): return Counter(re.findall(r"[\w']+", review.text))


@settings(max_examples=60, deadline=None)
@given(number=st.integers(0, 10**6), side=st.sampled_from(['train', 'test', 'unsup']), seed=st.integers(0, 99))
def test_twins_have_the_same_words_and_say_the_opposite(number, side, seed):
    praise, blame = (Review(number, positive, side, seed) for positive in (True, False))
    assert words(praise) == words(blame) and praise.text != blame.text
    assert 7 <= praise.rating <= 10 and 1 <= blame.rating <= 4
    assert praise.text == Review(number, True, side, seed).text


def test_sides_and_seeds_differ():
    texts = [[review.text for review in plan_reviews(200, side, seed)] for side in ('train', 'test') for seed in (1, 2)]
    for i, one in enumerate(texts):
        assert len(set(one)) > 390
        assert not any(set(one) & set(other) for other in texts[:i])


def test_folders_are_those_of_the_real_set(tmp_path):
    folder = make_reviews(tmp_path/'imdb', train=5, test=3, unsup=2)
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob('*.txt')}
    assert len(files) == 20
    pattern = r'(train|test)/(pos/\d+_(7|8|9|10)|neg/\d+_[1-4])\.txt|unsup/\d+_0\.txt'
    assert all(re.fullmatch(pattern, name) for name in files)
    again = make_reviews(tmp_path/'again'/'imdb', train=5, test=3, unsup=2)
    for name, file in files.items(): assert (again/name).read_bytes() == file.read_bytes()


def test_table_has_whole_pairs_on_either_side(tmp_path):
    file = make_review_table(tmp_path/'imdb_sample', number=50)/'texts.csv'
    with file.open(encoding='utf-8', newline='') as opened: rows = list(csv.DictReader(opened))
    assert list(rows[0]) == ['label', 'text', 'is_valid'] and len(rows) == 50
    for side in ('True', 'False'):
        labels = Counter(row['label'] for row in rows if row['is_valid'] == side)
        assert labels['positive'] == labels['negative'] > 0


@pytest.mark.parametrize('pairs', [0, -1])
def test_no_pairs(pairs):
    with pytest.raises(ValueError, match='one or more'): plan_reviews(pairs)


def test_a_bag_of_words_gets_one_of_two_right():
    "Exactly: of two twins, whose bags are the same, one answer is wrong."
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    known, new = plan_reviews(150), plan_reviews(80, 'test')
    for how, low, high in ((dict(ngram_range=(1, 1)), .5, .5), (dict(ngram_range=(1, 2)), .38, .62)):
        bag = TfidfVectorizer(token_pattern=r'\w+|[^\w\s]', min_df=2, **how)
        model = LogisticRegression(C=10, max_iter=1000)
        model.fit(bag.fit_transform([review.text for review in known]), [review.positive for review in known])
        share = model.score(bag.transform([review.text for review in new]), [review.positive for review in new])
        assert low <= share <= high


def test_a_half_made_set_is_not_there(tmp_path, monkeypatch):
    def broken(self, *args, **kwargs): raise KeyboardInterrupt
    monkeypatch.setattr(Path, 'write_text', broken)
    with pytest.raises(KeyboardInterrupt): make_reviews(tmp_path/'imdb')
    assert not (tmp_path/'imdb').exists()
