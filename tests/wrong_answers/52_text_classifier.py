"""Typical wrong answers to the exercises of 52_text_classifier; each must be refused."""
WRONG = {
    'check_mean_of_words': [
        'return outputs.mean(1)',
        'return outputs.sum(1) / lengths[:, None]',
        'counts = torch.arange(outputs.shape[1]) < lengths[:, None]\n'
        'outputs *= counts[..., None]\n'
        'return outputs.sum(1) / lengths[:, None]',
        'return torch.stack([h[:n].mean() for h, n in zip(outputs, lengths)])',
    ],
    'check_rates': [
        'return [lr / factor**i for i in range(n)]',
        'return [lr / (factor * (n - i)) for i in range(n)]',
        'return [lr / factor**(n - i) for i in range(n)]',
        'return [lr / 2.6**(n - 1 - i) for i in range(n)]',
    ],
    'check_without_each': [
        'return [[w for w in words if w != word] for word in words]',
        'return [words[:i] for i in range(len(words))]',
        "return [words[:i] + ['xxunk'] + words[i + 1:] for i in range(len(words))]",
    ],
}
