"Small notebooks for tests, and changes that people make to them."
import json

ANSWER = '''def half(number):
    ### BEGIN SOLUTION
    return number / 2
    ### END SOLUTION'''
CHECK = '''@exercise('what is half of four?')
def check_half(half):
    "half halves"
    assert half(4.) == 2, f'half(4.) gave {half(4.)}, expected 2'
check_half(half)'''


def notebook(path, *sources):
    "Write a notebook with these cells; a source that starts with `# ` becomes markdown."
    cells = []
    for index, source in enumerate(sources):
        cell = dict(id=f'c{index}', metadata={}, source=source.splitlines(keepends=True))
        if source.startswith('# '): cells.append(dict(cell, cell_type='markdown'))
        else: cells.append(dict(cell, cell_type='code', outputs=[], execution_count=None))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)))
    return path


def edit(path, old, new):
    "Change a notebook's text on disk, as a learner or an author does."
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
