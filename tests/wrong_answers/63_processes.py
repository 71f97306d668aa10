"""Usual wrong answers to the exercises of 63_processes; each must be refused."""
WRONG = {
    'check_whole_mean': [
        'return sum(means) / len(means)',
        'return sum(m * n for m, n in zip(means, counts)) / sum(counts)',
        'return sum(m * n for m, n in zip(means, counts) if n) / len(counts)',
    ],
    'check_my_rows': [
        'return [order[i:i + bs] for i in range(rank * bs, len(order), bs)]',
        'part = order[rank::number]\nreturn [part[i:i + bs] for i in range(0, len(part), bs - 1)]',
        'return [order[i:i + bs * number][:bs] for i in range(0, len(order), bs * number)]',
    ],
    'check_megabytes_sent': [
        'return n_weights * 4 / 1e6',
        'return 2 * (number - 1) / number * n_weights / 1e6',
        'return 2 * n_weights * 4 / 1e6',
    ],
}
