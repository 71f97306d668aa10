"""Typical wrong answers to the exercises of 26_pets; each must be refused."""
WRONG = {
    'check_shelter': [
        r"r'(.+)_\d+\.jpg$'",
        r"r'_(.+)_'",
        r"r'^\d+-\d+-\d+_(.+)_\(.*\)\.jpg$'",
        r"r'^\d+-\d+-\d+_(\w+?)_'",
        r"r'^\d+-\d+-\d+_.+_\(.*\)\.\w+$'",
    ],
    'check_tempered': [
        'powers = (scores / temperature).exp()\nreturn powers / powers.sum(-1, keepdim=True)',
        'powers = (scores - scores.max()).exp()\nreturn powers / powers.sum(-1, keepdim=True)',
        'scaled = scores * temperature\npowers = (scaled - scaled.amax(-1, keepdim=True)).exp()\n'
        'return powers / powers.sum(-1, keepdim=True)',
        'scaled = scores / temperature\npowers = (scaled - scaled.amax(0)).exp()\n'
        'return powers / powers.sum(0)',
    ],
    'check_label_smoothing': [
        'return (1 - eps) * cross_entropy(scores, targets)',
        'return cross_entropy(scores, targets) + eps',
        'log_probs = log_softmax(scores)\n'
        'return (1 - eps) * nll_loss(log_probs, targets) + eps * -log_probs.sum(1).mean()',
        'return (1 - eps) * cross_entropy(scores, targets, "none") + eps * -log_softmax(scores).mean(1)',
    ],
    'check_block_size': [
        'return n_in * n_out * 9 + n_out * n_out * 9 + 4 * n_out',
        'return n_in * n_out * 9 + n_out * n_out * 9 + n_in * n_out + n_out + 4 * n_out',
        'return n_in * n_out * 9 + n_out * n_out * 9 + (n_in * n_out if n_in != n_out else 0) + 4 * n_out',
        'return 2 * n_in * n_out * 9',
    ],
}
