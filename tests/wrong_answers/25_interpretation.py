"""Typical wrong answers to the exercises of 25_interpretation; each must be refused."""
WRONG = {
    'check_precision_and_recall': [
        'right = np.diag(matrix)\n'
        'return right / matrix.sum(1).clip(1), right / matrix.sum(0).clip(1)',    # the two swapped
        'right = np.diag(matrix)\n'
        'return right / matrix.sum(0), right / matrix.sum(1)',                    # 0 / 0 is not 0
        'share = np.trace(matrix) / matrix.sum()\n'
        'return share, share',                                                   # accuracy
    ],
    'check_mixed_pairs': [
        'pairs = [(int(i), int(j), int(matrix[i, j])) for i, j in zip(*matrix.nonzero()) if i < j]\n'
        'return sorted(pairs, key=lambda row: -row[2])',                          # one direction only
        'both = matrix + matrix.T\n'
        'pairs = [(int(i), int(j), int(both[i, j])) for i, j in zip(*both.nonzero()) if i != j]\n'
        'return sorted(pairs, key=lambda row: -row[2])',                          # each pair twice
        'both = np.triu(matrix + matrix.T, 1)\n'
        'return [(int(i), int(j), int(both[i, j])) for i, j in zip(*both.nonzero())]',   # not sorted
    ],
    'check_by_item': [
        'return values[torch.as_tensor(places)]',                                # the opposite of what is asked
        'return values.sort(0).values',                                          # right only by luck
        'return values[torch.as_tensor(places).argsort(descending=True)]',
        'return values',
    ],
}
