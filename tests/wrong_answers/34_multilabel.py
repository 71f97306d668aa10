"""Usual wrong answers to the exercises of 34_multilabel; each must be refused."""
ROWS = '''rows = torch.zeros(len(cells), len(vocab))
for row, cell in zip(rows, cells):
    for label in {parts}:
        {put}
return rows'''
PARTS = "(part.strip().lower() for part in cell.split(','))"

WRONG = {
    'check_rows': [
        ROWS.format(parts='cell.split(",")', put='row[vocab.index(label)] = 1'),
        ROWS.format(parts=PARTS, put='row[vocab.index(label)] = 1'),                  # the empty cell
        ROWS.format(parts=PARTS, put='if label in vocab: row[vocab.index(label)] = 1'),
        ROWS.format(parts=f'filter(None, {PARTS})', put='row[vocab.index(label)] += 1'),
        'return torch.tensor([[float(label in cell.lower()) for label in vocab] for cell in cells])',
        'return torch.tensor([[label in cell.lower() for label in vocab] for cell in cells])',
    ],
    'check_cost': [
        'hits, missed, invented = (x.sum() for x in (given & true, true & ~given, given & ~true))\n'
        'return hits / (hits + miss * missed + invent * invented)',
        'hits, missed, invented = (x.sum(1) for x in (given & true, true & ~given, given & ~true))\n'
        'return (hits / (hits + miss * missed + invent * invented)).mean()',
        'hits, missed, invented = (x.sum(1) for x in (given & true, true & ~given, given & ~true))\n'
        'bottom = hits + invent * missed + miss * invented\n'
        'return torch.where(bottom > 0, hits / bottom, 1.).mean()',
        'hits, missed, invented = (x.sum(0) for x in (given & true, true & ~given, given & ~true))\n'
        'bottom = hits + miss * missed + invent * invented\n'
        'return torch.where(bottom > 0, hits / bottom, 1.).mean()',
        'hits, missed, invented = (x.sum(1) for x in (given & true, true & ~given, given & ~true))\n'
        'bottom = hits + miss * missed + invent * invented\n'
        'return torch.where(bottom > 0, hits / bottom, 0.).mean()',
    ],
    'check_usual_bias': [
        'return rows.mean(0)',
        'p = rows.mean(0)\nreturn (p / (1 - p)).log()',
        'return ((rows.sum(0) + 1) / (len(rows) + 2)).log()',
        'return ((rows.sum(0) + 1) / ((1 - rows).sum(0) + 1))',
        'return (((1 - rows).sum(0) + 1) / (rows.sum(0) + 1)).log()',
    ],
}
