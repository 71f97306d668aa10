"""Typical wrong answers to the exercises of 05_mnist; each must be refused."""
WRONG = {
    'check_nearest': [
        'return rmse_distance(images[:, None], ideals).argmin(0)',
        'return l1_distance(images[:, None], ideals).argmin(1)',
        'return rmse_distance(images[:, None], ideals).argmax(1)',
        'return rmse_distance(images[:, None], ideals)',
    ],
    'check_ten_class_accuracy': [
        'return (scores.argmax(0) == labels).float().mean()',
        'return (scores.argmax(1) == labels).sum()',
        'return ((scores > 0).any(1) == (labels == 1)).float().mean()',
    ],
    'check_merge': [
        'return nn.Sequential(first, second)',
        'merged = nn.Linear(first.in_features, second.out_features)\n'
        'with torch.no_grad():\n'
        '    merged.weight.copy_(second.weight @ first.weight)\n'
        '    merged.bias.copy_(first.bias.sum() + second.bias)\n'
        'return merged',
        'merged = nn.Linear(first.in_features, second.out_features)\n'
        'with torch.no_grad(): merged.weight.copy_(second.weight @ first.weight)\n'
        'return merged',
    ],
}
