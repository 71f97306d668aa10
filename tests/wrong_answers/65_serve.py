"""Usual wrong answers to the exercises of 65_serve; each must be refused."""
WRONG = {
    'check_verdict': [
        "return 'at once' if inside <= parallel else 'waits' if inside < parallel + waiting else 'sent away'",
        "return 'at once' if inside < parallel else 'waits' if inside < waiting else 'sent away'",
        "return 'at once' if inside < parallel else 'waits' if inside <= parallel + waiting else 'sent away'",
    ],
}
