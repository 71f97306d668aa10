"""Typical wrong answers to the exercises of 90_course; each must be refused."""
WRONG = {
    'check_count_questions': [
        "return sum(cell['source'].count('<details>') for cell in notebook['cells'])",   # counts code as well
        "return sum('<details>' in cell['source'] for cell in notebook['cells'] if cell['cell_type'] == 'markdown')",
        "return len(notebook['cells'])",
    ],
    'check_slow_cells': [
        'return [index for index, seconds in enumerate(report.cell_seconds) if seconds > limit]',   # not sorted
        'return sorted((seconds for seconds in report.cell_seconds if seconds > limit), reverse=True)',   # not indices
        'slow = [i for i, s in enumerate(report.cell_seconds) if s >= limit]\n'
        'return sorted(slow, key=lambda i: -report.cell_seconds[i])',   # as long as the limit is not longer
    ],
}
