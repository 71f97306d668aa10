"""Usual wrong answers to the exercises of 64_profiling; each must be refused."""
WRONG = {
    'check_speed_needed': [
        # as if all of it were loading
        'return goal',
        # the share is forgotten where it cannot be reached
        'left = 1 / goal - (1 - p)\nreturn p / left if left else None',
        # the rest is not taken off
        'return p * goal',
        # upside down
        'left = 1 / goal - (1 - p)\nreturn left / p if left > 0 else None',
    ],
    'check_honest': [
        # the mean
        'rows = rows[warm_up:]\nstations = {name for row in rows for name in row}\n'
        'return {name: sum(row.get(name, 0) for row in rows) / len(rows) for name in stations}',
        # no warm-up
        'stations = {name for row in rows for name in row}\n'
        'each = {name: [row[name] for row in rows if name in row] for name in stations}\n'
        'return {name: median(times) * len(times) / len(rows) for name, times in each.items()}',
        # without the share
        'rows = rows[warm_up:]\nstations = {name for row in rows for name in row}\n'
        'return {name: median([row[name] for row in rows if name in row]) for name in stations}',
        # a missing step counts as none
        'rows = rows[warm_up:]\nstations = {name for row in rows for name in row}\n'
        'return {name: median([row.get(name, 0) for row in rows]) for name in stations}',
    ],
    'check_workers_needed': [
        # rounded down
        'return min(most, max(1, load // train))',
        # one more than needed
        'return min(most, load // train + 1)',
        # no upper end
        'return max(1, math.ceil(load / train))',
        # the other way round
        'return min(most, max(1, math.ceil(train / load)))',
    ],
}
