"""Typical wrong answers to the exercises of 50_tokens; each must be refused."""
COUNT = 'counts = Counter()\nfor pieces, times in words.items():\n    '
WRONG = {
    'check_best_pair': [
        # words counted once, however frequent
        COUNT + 'for pair in zip(pieces, pieces[1:]): counts[pair] += 1\nreturn counts.most_common(1)[0][0]',
        # a pair counted once a word
        COUNT + 'for pair in {*zip(pieces, pieces[1:])}: counts[pair] += times\nreturn counts.most_common(1)[0][0]',
        # the pair joined
        COUNT + 'for pair in zip(pieces, pieces[1:]): counts[pair] += times\nreturn "".join(counts.most_common(1)[0][0])',
        # characters, not pieces
        COUNT + 'word = "".join(pieces)\n    for pair in zip(word, word[1:]): counts[pair] += times\n'
        'return counts.most_common(1)[0][0]',
    ],
    'check_windows': [
        # rows one after the other in time
        'n = (len(stream) - 1) // (bs * seq_len)\nreturn [(stream[i:i + bs * seq_len].view(bs, seq_len), '
        'stream[i + 1:i + 1 + bs * seq_len].view(bs, seq_len)) for i in range(0, n * bs * seq_len, bs * seq_len)]',
        # targets are the inputs
        'length = (len(stream) - 1) // bs\nx = stream[:bs * length].view(bs, length)\n'
        'return [(x[:, i:i + seq_len], x[:, i:i + seq_len]) for i in range(0, length - seq_len + 1, seq_len)]',
        # the last window may be short
        'length = (len(stream) - 1) // bs\nx, y = (part[:bs * length].view(bs, length) for part in (stream, stream[1:]))\n'
        'return [(x[:, i:i + seq_len], y[:, i:i + seq_len]) for i in range(0, length, seq_len)]',
        # one token too few in a row
        'length = len(stream) // bs - 1\nx, y = (part[:bs * length].view(bs, length) for part in (stream, stream[1:]))\n'
        'return [(x[:, i:i + seq_len], y[:, i:i + seq_len]) for i in range(0, length - seq_len + 1, seq_len)]',
    ],
}
