"""Usual wrong answers to the exercises of 66_doubt; each must be refused."""
WRONG = {
    'check_gap': [
        'inside = (confidence > low) & (confidence <= high)\nreturn (confidence[inside].mean() - right[inside].float().mean()).item()',
        'inside = (confidence > low) & (confidence <= high)\nreturn (confidence[inside].mean() - right[inside].float().mean()).abs().item()',
        'return (confidence.mean() - right.float().mean()).abs().item()',
    ],
    'check_threshold_for': [
        'return next((s / 100 for s in range(99, -1, -1) if answered(probs, targets, s / 100)[1] >= wanted), None)',
        'return next((s / 100 for s in range(100) if answered(probs, targets, s / 100)[0] >= wanted), None)',
    ],
    'check_modest': [
        'return probs / T / (probs / T).sum(-1, keepdim=True)',
        'return (probs / T).softmax(-1)',
    ],
}
