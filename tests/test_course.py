"What notebooks say about themselves, running them, trials of their exercises, the cache."
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.notebooks import ANSWER, CHECK, edit, notebook
from lessonlib import course
from lessonlib.course import (about, course_map, CourseError, describe_error, executed, exercises,
                              figure_alt, find_lesson, lessons, module_names, modules_used,
                              notebook_key, read_notebook, read_report, run_notebook, staircase)
from lessonlib.command import student_edition

ROOT = Path(__file__).resolve().parent.parent

# ---- what a notebook says about itself

def front(track='lesson', star=False, sentence='You will be able to count: to ten.'):
    return (f'# Counting\n\n> {sentence}\n\n- track: {track}\n' + '- star: true\n' * star
            + '\n> **Before you start.** Half a minute on two cores.')


@pytest.fixture
def four(tmp_path):
    "A course of an index, two lessons, a workshop notebook and an appendix"
    for name, text in {'index': '# Home', '01_tools': front('workshop'), '02_two': front(),
                       '10_ten': front(star=True), '03_end': front('appendix')}.items():
        module = name.partition('_')[2]
        more = [f'#| default_exp {module}'] if module else []
        notebook(tmp_path/f'{name}.ipynb', text, *more)
    return tmp_path


def test_front_matter_is_read_in_one_place(four):
    entry = about(four/'10_ten.ipynb')
    assert (entry.title, entry.track, entry.star) == ('Counting', 'lesson', True)
    assert (entry.time, entry.module) == ('half a minute', 'ten')
    assert entry.sentence == 'You will be able to count: to ten.'
    nothing = about(notebook(four/'20_x.ipynb', 'x = 1'))
    assert (nothing.title, nothing.track, nothing.star, nothing.module) == ('', 'lesson', False, '')


def test_two_orders(four):
    "One reads the lessons first; they are built by number."
    names = [path.stem for path in lessons(four)]
    assert names == ['index', '02_two', '10_ten', '01_tools', '03_end']
    built = [path.stem for path in staircase(four)]
    assert built == ['index', '01_tools', '02_two', '03_end', '10_ten']
    assert list(module_names(four).values()) == ['tools', 'two', 'end', 'ten']


def test_the_map_shows_the_course_and_folds_the_rest(four):
    open_table, folded = course_map(four).split('<details>', 1)
    assert '02 · [Counting](02_two.ipynb) | Count | half a minute | `two` |' in open_table
    assert '[Counting](10_ten.ipynb) ★' in open_table and '★' not in folded
    assert folded.index('01_tools') < folded.index('</details>') < folded.index('03_end')


def test_a_file_is_that_very_file(four, monkeypatch):
    mine = notebook(four/'students'/'anna'/'02_two.ipynb', '# Mine')
    assert find_lesson(str(mine), four) == mine
    monkeypatch.chdir(mine.parent)
    assert find_lesson('02_two.ipynb', four).resolve() == mine
    assert find_lesson('02_two', four) == find_lesson('two', four) == four/'02_two.ipynb'
    for name in ('students/anna/03_end.ipynb', '03_end.ipynb'):
        with pytest.raises(CourseError, match='there is no file'): find_lesson(name, four)


# ---- running

def test_a_failing_cell_is_told_with_number_source_and_traceback(tmp_path):
    path = notebook(tmp_path/'00_x.ipynb', '# Title', 'x = 1', 'def f(): return x / 0\nf()',
                    'print("never")')
    report = run_notebook(path, out=tmp_path/'out.ipynb')
    assert not report.ok
    assert (report.error['index'], report.error['name']) == (2, 'ZeroDivisionError')
    message = describe_error(report)
    for words in ('cell 3 of 4', 'return x / 0', 'division by zero'): assert words in message
    assert '\x1b' not in message
    cells = read_notebook(tmp_path/'out.ipynb')['cells']
    assert cells[2]['outputs'][0]['output_type'] == 'error' and cells[3]['outputs'] == []
    assert read_notebook(path)['cells'][2]['outputs'] == []  # the source is as it was


def test_a_kernel_is_fresh_and_is_this_python(tmp_path):
    """Own process, own name space, this interpreter, this lessonlib, on paper, in the notebook's
    folder."""
    path = notebook(tmp_path/'00_x.ipynb', 'import os, sys, lessonlib',
                    'assert "planted" not in globals()\nplanted = 1',
                    f'assert sys.executable == {sys.executable!r}',
                    f'assert lessonlib.__file__ == {str(ROOT/"lessonlib"/"__init__.py")!r}',
                    'assert os.environ["LESSONLIB_PAPER"] == "1"',
                    f'assert os.getcwd() == {str(tmp_path)!r} and os.getpid() != {os.getpid()}')
    for _ in range(2):
        report = run_notebook(path)
        assert report.ok, describe_error(report)
    assert [item.name for item in tmp_path.iterdir()] == ['00_x.ipynb']


def test_a_kernel_that_dies_and_a_cell_that_hangs_are_told(tmp_path):
    dies = run_notebook(notebook(tmp_path/'00_dies.ipynb', 'import os\nos._exit(1)'))
    assert dies.error['name'] == 'DeadKernelError' and dies.error['index'] == 0
    start = time.perf_counter()
    hangs = run_notebook(notebook(tmp_path/'00_hangs.ipynb', 'import time\ntime.sleep(100)'),
                         timeout=1)
    assert hangs.error['name'] == 'CellTimeoutError' and time.perf_counter() - start < 60


def test_every_kind_of_figure_has_alt_text(tmp_path):
    draw = ('import matplotlib.pyplot as plt\nfigure, axes = plt.subplots(1, 2)\n'
            'figure.suptitle("Both")\n')
    path = notebook(tmp_path/'00_x.ipynb', draw + 'axes[0].set_title("First")', draw + 'plt.show()',
                    'from IPython.display import display\ndisplay(figure)', 'plt.plot([1]);')
    assert run_notebook(path, out=tmp_path/'out.ipynb').ok
    cells = read_notebook(tmp_path/'out.ipynb')['cells']
    alts = [[output['metadata'].get('alt') for output in cell['outputs']
             if 'image/png' in output.get('data', {})] for cell in cells]
    assert alts == [['Both; First'], ['Both'], ['Both'], [None]]


def test_figure_alt_is_short_enough_to_listen_to():
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib.figure import Figure
    figure = Figure()
    for number, ax in enumerate(figure.subplots(10, 10).flat):
        ax.set_title(f'the picture with the number {number}')
    assert 100 < len(figure_alt(figure)) <= 300


# ---- exercises

def trial(tmp_path, answer, check, wrong):
    start = 'from lessonlib.core import exercise'
    report = run_notebook(notebook(tmp_path/'00_x.ipynb', start, answer, check),
                          wrong_answers=dict(check_half=wrong))
    assert report.ok, describe_error(report)
    return report.exercises[0]


def test_trials_tell_right_from_wrong(tmp_path):
    entry = trial(tmp_path, ANSWER, CHECK,
                  ['return number', 'return nmber / 2', 'return number * .5', 'return ('])
    assert (entry['solution'], entry['empty']) == ('accepted', 'refused')
    assert entry['wrong'][0] == 'refused' and entry['wrong'][2] == 'accepted'
    assert entry['wrong'][1].startswith('broken') and entry['wrong'][3].startswith('broken')


def test_a_trial_notes_which_hint_came(tmp_path):
    """The empty answer gets none; wrong answers in a row get one after the other, then the last
    again."""
    check = CHECK.replace("'what is half of four?'", "'a nudge', 'more', 'almost the answer'")
    entry = trial(tmp_path, ANSWER, check, ['return number'] * 4)
    assert entry['wrong'] == ['refused'] * 4 and entry['hints'] == [0, 1, 2, 2]


def test_a_cell_that_needs_a_solution_is_found(tmp_path):
    start, later = 'from lessonlib.core import exercise', 'print(half(4) + 1)'
    cells = [start, ANSWER, CHECK, later]
    assert run_notebook(notebook(tmp_path/'00_author.ipynb', *cells)).ok
    report = run_notebook(notebook(tmp_path/'00_x.ipynb', *cells), wrong_answers={})
    assert not report.ok and report.error['index'] == 3


def test_an_unsolved_exercise_leaves_random_numbers_alone(tmp_path):
    start = 'from lessonlib.core import exercise, set_seed\nimport random\nset_seed(1)'
    draws = ANSWER.replace('def half', 'import random\nrandom.random()\ndef half')
    cells = [start, draws, CHECK, 'print(random.random())']
    printed = []
    for name, wrong in (('00_a', None), ('00_b', {})):
        report = run_notebook(notebook(tmp_path/f'{name}.ipynb', *cells), out=tmp_path/'out.ipynb', wrong_answers=wrong)
        assert report.ok, describe_error(report)
        printed.append(read_notebook(tmp_path/'out.ipynb')['cells'][3]['outputs'][0]['text'])
    assert printed[0] == printed[1]


def test_a_picture_that_fails_with_sliders_is_found(tmp_path):
    draw = ('import matplotlib.pyplot as plt\nfrom lessonlib.core import explore, on_paper\n'
            'def draw(k): return plt.plot([k])\nexplore(draw, k=[1, 2])')
    fails = draw + '\nassert on_paper(), "no page"'
    for source, live in ((draw, []), (fails, ['cell 1: AssertionError no page'])):
        report = run_notebook(notebook(tmp_path/'00_x.ipynb', source), wrong_answers={})
        assert report.ok and report.live == live


def test_half_a_solution_never_reaches_a_learner(tmp_path):
    for lost in ('    ### END SOLUTION', '    ### BEGIN SOLUTION\n'):
        path = notebook(tmp_path/'00_x.ipynb', '# Title', ANSWER.replace(lost, ''), CHECK)
        for use in (exercises, student_edition):
            with pytest.raises(CourseError, match='cell 2: a solution needs'):
                use(path)


def test_a_check_that_accepts_everything_is_seen(tmp_path):
    lazy = '@exercise("hint")\ndef check_half(half):\n    "nothing"\n    half(4.)\ncheck_half(half)'
    assert trial(tmp_path, ANSWER, lazy, ['return number'])['wrong'] == ['accepted']


def test_the_right_answer_is_forgotten_before_a_trial(tmp_path):
    "A solution that is a whole definition must not linger when the answer is empty."
    whole = '### BEGIN SOLUTION\ndef half(number): return number / 2\n### END SOLUTION'
    assert trial(tmp_path, whole, CHECK, [])['empty'] == 'refused'


# ---- the cache

@pytest.fixture
def small_course(tmp_path):
    "A notebook that imports `two`, which imports `one`; `three` stands apart."
    package = tmp_path/'package'
    package.mkdir()
    for name, text in dict(one='x = 1', two='from .one import x', three='y = 1').items():
        (package/f'{name}.py').write_text(text)
    return notebook(tmp_path/'nbs'/'00_x.ipynb', '# Title', 'from lessonlib.two import x'), package


@pytest.mark.parametrize('what', ['code', 'prose', 'imported', 'imported by imported',
                                  'wrong answers', 'data',
                                  'mirror', 'device', 'version'])
def test_key_changes_with_everything_a_copy_is_made_from(small_course, monkeypatch, what):
    path, package = small_course
    before = notebook_key(path, 'wrong', package)
    assert notebook_key(path, 'wrong', package) == before
    wrong = 'wrong'
    if what == 'code': edit(path, 'import x', 'import x  # more')
    if what == 'prose': edit(path, 'Title', 'Other title')
    if what == 'imported': (package/'two.py').write_text('from .one import x\n')
    if what == 'imported by imported': (package/'one.py').write_text('x = 2')
    if what == 'wrong answers': wrong = 'other'
    if what == 'data': monkeypatch.setenv('LESSONLIB_DATA', 'real')
    if what == 'mirror': monkeypatch.setenv('LESSONLIB_MIRROR', '/elsewhere')
    if what == 'device': monkeypatch.setenv('LESSONLIB_DEVICE', 'cuda')
    if what == 'version': monkeypatch.setattr(course, '_version', lambda name: '0')
    assert notebook_key(path, wrong, package) != before


@pytest.mark.parametrize('line', ['from lessonlib.one import x', 'import lessonlib.one',
                                  'from lessonlib import one',
                                  'from lessonlib import (two,\n    one)',
                                  '    import lessonlib.one as o',
                                  'run(["-c", "from lessonlib.one import x"])',
                                  'import lessonlib\nlessonlib.one.x'])
def test_key_sees_every_way_to_use_a_module(small_course, line):
    path, package = small_course
    notebook(path, line)
    before = notebook_key(path, '', package)
    (package/'one.py').write_text('x = 2')
    assert notebook_key(path, '', package) != before


def test_key_leaves_alone_what_cannot_matter(small_course):
    "A module that is not used, outputs, and metadata."
    path, package = small_course
    before = notebook_key(path, '', package)
    (package/'three.py').write_text('y = 2')
    book = json.loads(path.read_text())
    book['metadata']['kernelspec'] = dict(name='python3')
    path.write_text(json.dumps(book))
    assert notebook_key(path, '', package) == before


def test_key_sees_a_method_that_a_later_module_adds(tmp_path):
    "The Learner finds it by a table; no text imports the module."
    package = tmp_path/'package'
    package.mkdir()
    late = "methods = {'tta': 'more', 'other': 'far'}\ncallbacks = ['bar']"
    for name, text in dict(learner='from . import _late', _late=late, more='x = 1', far='x = 1',
                           bar='x = 1').items():
        (package/f'{name}.py').write_text(text)
    used = modules_used('from lessonlib.learner import Learner\nlearn.tta()', package)
    assert set(used) == {'learner', '_late', 'more', 'bar'}
    assert set(modules_used('learn.tta()', package)) == set()


def test_a_notebook_that_reads_the_others_depends_on_them(tmp_path):
    reader = notebook(tmp_path/'22_x.ipynb', 'from lessonlib.course import lessons')
    other = notebook(tmp_path/'00_x.ipynb', '# Title')
    before = notebook_key(reader)
    edit(other, 'Title', 'Changed')
    assert notebook_key(reader) != before


def test_a_copy_is_used_again_only_if_nothing_changed(tmp_path):
    path, cache = notebook(tmp_path/'nbs'/'00_x.ipynb',
                           'answer = 6 * 7\nanswer'), tmp_path/'executed'
    first = executed(path, cache)
    stamp, key = first.stat().st_mtime_ns, read_report(first).key
    assert executed(path, cache).stat().st_mtime_ns == stamp
    edit(path, '6 * 7', '6 * 8')
    assert read_report(executed(path, cache)).key != key
    assert ''.join(read_notebook(first)['cells'][0]['outputs'][0]['data']['text/plain']) == '48'
    stamp = first.stat().st_mtime_ns
    assert executed(path, cache, force=True).stat().st_mtime_ns != stamp


def test_a_copy_that_failed_is_run_again(tmp_path):
    "Unless one asks to keep it, as the tests of one session do."
    flag = tmp_path/'flag'
    path, cache = notebook(tmp_path/'nbs'/'00_x.ipynb',
                           f'open({str(flag)!r}).close()'), tmp_path/'executed'
    assert not read_report(executed(path, cache)).ok
    flag.touch()
    assert not read_report(executed(path, cache, keep_errors=True)).ok
    assert read_report(executed(path, cache)).ok


def test_a_notebook_edited_while_it_ran_is_run_again(tmp_path):
    path = tmp_path/'nbs'/'00_x.ipynb'
    notebook(path, f'path = {str(path)!r}\ntext = open(path).read()\n'
             'open(path, "w").write(text.replace("# 1", "# 2"))',
             'x = 1  # 1')
    copy = executed(path, tmp_path/'executed')
    assert read_report(copy).ok and read_report(copy).key == ''
    executed(path, tmp_path/'executed')
    assert read_report(copy).key == notebook_key(path) and '# 2' in copy.read_text()


def test_two_that_ask_at_once_run_it_once(tmp_path):
    counted = tmp_path/'count'
    path = notebook(tmp_path/'nbs'/'00_x.ipynb', f'open({str(counted)!r}, "a").write("x")')
    script = ('from lessonlib.course import executed; '
              f'executed({str(path)!r}, {str(tmp_path/"executed")!r})')
    both = [subprocess.Popen([sys.executable, '-c', script]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert counted.read_text() == 'x'


# ---- marks of solutions, line ends, messages

@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
def test_lines_may_end_as_any_program_ends_them(tmp_path, end):
    path = notebook(tmp_path/'00_x.ipynb', '# Title', ANSWER.replace('\n', end), CHECK.replace('\n', end))
    assert 'SOLUTION' not in json.dumps(student_edition(path)) and len(exercises(path)) == 1
    assert course.directives(f'#| eval: false{end}launch()') == {'eval': 'false'}


HALF_MARKED = {name: ANSWER.replace(*change) for name, change in {
    'no end': ('    ### END SOLUTION', ''), 'plural': ('END SOLUTION', 'END SOLUTIONS'), 'one sign': ('### END', '# END'),
    'no blank': ('### END', '###END'), 'small': ('END SOLUTION', 'end solution'), 'misspelt': ('END SOLUTION', 'END SOLTUION'),
    'other word': ('BEGIN', 'START'), 'words after it': ('END SOLUTION', 'END SOLUTION of 1'),
    'after code': ('    ### END SOLUTION', '    x = 1  ### END SOLUTION'),
    'nested': ('    ### END', '    ### BEGIN SOLUTION\n    ### END'),
    'both of one sign': ('###', '#'), 'both without a blank': ('### ', '###'), 'both plural': ('SOLUTION', 'SOLUTIONS'),
    'both misspelt': ('SOLUTION', 'SOLTUION')}.items()}
HALF_MARKED['both small'] = ANSWER.replace('BEGIN', 'begin').replace('END', 'end').replace('SOLUTION', 'solution')
HALF_MARKED['the end first'] = '### END SOLUTION\n' + HALF_MARKED['no end']
HALF_MARKED['changed places'] = ANSWER.replace('BEGIN', '?').replace('END', 'BEGIN').replace('?', 'END')


@pytest.mark.parametrize('name', HALF_MARKED)
def test_whatever_looks_like_a_mark_must_be_of_a_pair(tmp_path, name):
    sys.path.insert(0, str(ROOT/'docs'))
    import sync
    source = HALF_MARKED[name]
    assert source != ANSWER and course.solution_fault(source)
    assert any('a solution needs' in fault for fault in sync.faults_of_cell(source))
    for use in (exercises, student_edition):
        with pytest.raises(CourseError, match='cell 2: a solution needs'):
            use(notebook(tmp_path/'00_x.ipynb', '# Title', source, CHECK))
    with pytest.raises(CourseError): course.replace_solution(source)


def test_marks_are_not_suspected_everywhere():
    for source in (ANSWER, 'x = 1  # the end of a solution is near', '# begin here', "print('### BEGIN SOLUTION')", ''):
        assert course.solution_fault(source) == '', source


def test_no_name_is_no_lesson(four):
    with pytest.raises(CourseError, match='no lesson'): find_lesson('', four)


def test_no_message_of_a_cell_is_lost(tmp_path):
    "Very many short ones, faster than anybody reads"
    code = 'import sys\nfor i in range(6000):\n    sys.stdout.write("0" * 100); sys.stdout.flush()\nprint("END")'
    report = run_notebook(notebook(tmp_path/'00_x.ipynb', '# Title', code), out=tmp_path/'out.ipynb', timeout=250.5)
    text = ''.join(''.join(output['text']) for output in read_notebook(tmp_path/'out.ipynb')['cells'][1]['outputs'])
    assert report.ok and text.count('0') == 600_000 and text.endswith('END\n')


def test_kernels_at_work_can_be_ended(tmp_path):
    import threading
    reports = []
    path = notebook(tmp_path/'00_x.ipynb', '# Title', 'open("begun", "w").close()\nimport time; time.sleep(300)')
    thread = threading.Thread(target=lambda: reports.append(run_notebook(path, folder=tmp_path)))
    thread.start()
    while not (tmp_path/'begun').exists(): time.sleep(.05)
    course._end_running()
    thread.join(30)
    assert reports and reports[0].error['name'] == 'DeadKernelError'


def test_a_place_that_cannot_be_written_is_told_before_anything_runs(tmp_path):
    (tmp_path/'file').touch()
    path = notebook(tmp_path/'00_x.ipynb', '# Title', 'open("ran", "w").close()')
    with pytest.raises(CourseError, match='nothing can be written to'):
        run_notebook(path, out=tmp_path/'file'/'below'/'x.ipynb', folder=tmp_path)
    assert not (tmp_path/'ran').exists()
