"""Begin a lesson: `python docs/new.py 33_segmentation "Segmentation" [workshop]` (or `make new`).

Writes a notebook, its test and its wrong answers, which pass as they are, and exports the module.
CONTRIBUTING.md says how to go on.
"""
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path: sys.path.insert(0, str(HERE))
from sync import export

ROOT = HERE.parent

FRONT = '''# {title}

> You will be able to say, in one sentence, what a reader can do afterwards.

- track: {track}'''

BOX = '''> **Before you start.** A few seconds on two cores. No data. It stands on
> [the workbench](00_core.ipynb).'''

SETUP = '''import matplotlib.pyplot as plt

from lessonlib.core import exercise, expect, predict_first'''

IDEA = '''## The idea

Begin with the smallest data that raises the question. Then the idea in words and one formula: the mean of
$n$ numbers is

$$m = \\frac{1}{n} \\sum_{i=1}^{n} x_i$$

and from scratch it is one line.'''

CODE = '''#| export
def {module}_mean(
    values: list,  # numbers, one or more
) -> float:  # their mean
    """Add up and divide

    Raises ValueError if there are none."""
    if not values: raise ValueError('the mean of no numbers is unknown: give one or more')
    return sum(values) / len(values)'''

CHECK = '''values = [1, 2, 6]
assert {module}_mean(values) == 3
with expect(ValueError, 'give one or more'): {module}_mean([])'''

PREDICT = '''with predict_first('A 91 joins the numbers 1, 2 and 6. Which moves further?',
                   'the mean', 'the middle one', 'both alike') as guess:
    more = [*values, 91]
    moved = {module}_mean(more) - {module}_mean(values)
    middle = (more[1] + more[2]) / 2 - values[1]
    guess.answer('the mean' if moved > middle else 'the middle one' if moved < middle
                 else 'both alike', 'Every number pulls at the mean, and 91 pulls hard.')'''

FIGURE = '''figure, ax = plt.subplots(figsize=(5, 2), layout='constrained')
ax.plot(more, [0] * len(more), 'o', label='numbers')
ax.axvline({module}_mean(more), color='tab:red', label='mean')
ax.set(title='One number far away takes the mean with it', xlabel='value', yticks=[])
ax.legend();'''

SHORT = '''> **In short.** What the notebook has shown, in two or three sentences, in the words of its questions.

## Exercises'''

EXERCISES = [
    ('the middle', 'middle', 'the number in the middle of an odd count of `values`',
     'return sorted(values)[len(values) // 2]', ['return values[len(values) // 2]',
                                                 'return sum(values) / len(values)'],
     [([3, 1, 8], 3), ([9, 1, 5, 7, 4], 5)],
     ['put them in order first', 'the place is half the count, rounded down',
      'sorted(values)[len(values) // 2]']),
    ('the spread', 'spread', 'the largest of `values` minus the smallest',
     'return max(values) - min(values)', ['return max(values)', 'return values[-1] - values[0]'],
     [([3, 1, 2], 2), ([5, 5], 0)],
     ['two numbers decide', 'max and min find them', 'max(values) - min(values)']),
    ('above the mean', 'above', 'how many of `values` are larger than their mean',
     'mean = sum(values) / len(values)\n    return sum(value > mean for value in values)',
     ['return len(values) // 2',
      'mean = sum(values) / len(values)\nreturn sum(value >= mean for value in values)'],
     [([1, 2, 9], 1), ([4, 4], 0)],
     ['what is the mean?', 'compare each value with it', 'True counts as 1 in a sum']),
]

ANSWER = '''def {name}(values):
    ### BEGIN SOLUTION
    {solution}
    ### END SOLUTION'''

ASKED = '''@exercise({hints})
def check_{module}_{name}({name}):
    "{name} gives {what}"
    for values, expected in {cases}:
        got = {name}(values)
        assert got == expected, f'{name}({{values}}) gave {{got}}, expected {{expected}}'
check_{module}_{name}({name})'''

QUESTION = '''**{number}.** What does the mean of one number equal?

<details><summary>Answer</summary>

That number.

</details>'''

TEST = '''"{title}."
import pytest

from lessonlib.{module} import {module}_mean


@pytest.mark.parametrize('values, mean', [([1, 2, 6], 3), ([4], 4), ([-1, 1], 0)])
def test_mean(values, mean): assert {module}_mean(values) == mean


def test_no_numbers():
    with pytest.raises(ValueError, match='give one or more'): {module}_mean([])
'''


def cells_of(title: str, module: str, track: str) -> list[tuple[str, str]]:
    "Kind and source of every cell; a lesson has three exercises and eight questions"
    exercises = EXERCISES if track == 'lesson' else EXERCISES[:1]
    cells = [('markdown', FRONT.format(title=title, track=track)), ('markdown', BOX),
             ('code', f'#| default_exp {module}'), ('code', SETUP), ('markdown', IDEA),
             *(('code', text.replace('{module}', module)) for text in (CODE, CHECK, PREDICT,
                                                                       FIGURE)),
             ('markdown', SHORT)]
    for number, (heading, name, what, solution, _, cases, hints) in enumerate(exercises, 1):
        cells += [('markdown', f'### Exercise {number}: {heading}\n\nWrite `{name}(values)`: {what}.'),
                  ('code', ANSWER.format(name=name, solution=solution)),
                  ('code', ASKED.format(name=name, module=module, cases=cases,
                                        what=what.replace('`', ''),
                                        hints=',\n          '.join(map(repr, hints))))]
    questions = [QUESTION.format(number=number) for number in range(1,
                                                                    9 if track == 'lesson' else 4)]
    return [*cells, ('markdown', '\n\n'.join(['## Questionnaire', *questions]))]


def write_new(root: Path, name: str, title: str, track: str = 'lesson') -> list[Path]:
    "Write the three files of a new notebook; ValueError if the name will not do or is taken"
    found = re.fullmatch(r'\d\d_([a-z][a-z0-9_]*)', name)
    if not found:
        raise ValueError(f'{name!r} is no name for a notebook: two digits and a word, such as '
                         '33_segmentation')
    if track not in ('lesson', 'workshop', 'appendix'):
        raise ValueError(f'{track!r} is no track: lesson, workshop or appendix')
    module, number = found[1], name[:2]
    taken = [*root.glob(f'nbs/{number}_*.ipynb'), *root.glob(f'nbs/??_{module}.ipynb')]
    if taken: raise ValueError(f'{taken[0].name} is there already: choose another number or word')
    cells = [dict(id=f'{index:08x}', cell_type=kind, metadata={}, source=source.splitlines(True),
                  **(dict(outputs=[], execution_count=None) if kind == 'code' else {}))
             for index, (kind, source) in enumerate(cells_of(title, module, track))]
    book = dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)
    wrong = {f'check_{module}_{exercise[1]}': exercise[4]
             for exercise in (EXERCISES if track == 'lesson' else EXERCISES[:1])}
    rows = '\n'.join(f'    {check!r}: [\n' + ''.join(f'        {answer!r},\n' for answer in answers)
                     + '    ],' for check, answers in wrong.items())
    texts = {
        root/'nbs'/f'{name}.ipynb': json.dumps(book, indent=1, ensure_ascii=False) + '\n',
        root/'tests'/f'test_{module}.py': TEST.format(title=title, module=module),
        root/'tests'/'wrong_answers'/f'{name}.py':
            f'"""Usual wrong answers to the exercises of {name}; each must be refused."""\n'
            f'WRONG = {{\n{rows}\n}}\n'}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
    return list(texts)


def main() -> None:
    if not 3 <= len(sys.argv) <= 4: sys.exit(__doc__)
    try: written = write_new(ROOT, *sys.argv[1:])
    except ValueError as problem: sys.exit(str(problem))
    export(ROOT)
    for path in written: print(path.relative_to(ROOT))
    print('and the module. They pass as they are: now write the lesson (see CONTRIBUTING.md).')


if __name__ == '__main__': main()
