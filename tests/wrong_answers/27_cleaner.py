"""Typical wrong answers to the exercises of 27_cleaner; each must be refused."""
WRONG = {
    'check_settle': [
        "return ['made' if goal in names else 'open' for source, goal in plan]",           # the goal alone
        "return ['open' if source in names else 'made' for source, goal in plan]",         # the source alone
        "return ['made' if source not in names and goal in names else 'open' for source, goal in plan]",
        "words = ['lost', 'made', 'open', 'blocked']\n"
        "return [words[(source in names) + 2 * (goal in names)] for source, goal in plan]",   # mixed up
    ],
}
