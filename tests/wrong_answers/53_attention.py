"""Usual wrong answers to the exercises of 53_attention; each must be refused."""
WRONG = {
    'check_window_mask': [
        'return torch.ones(n, n, dtype=bool).tril()',
        'places = torch.arange(n)\nback = places[:, None] - places\nreturn (back >= 0) & (back < width)',
        'places = torch.arange(n)\nreturn (places[:, None] - places).abs() <= width',
        'places = torch.arange(n)\nback = places - places[:, None]\nreturn (back >= 0) & (back <= width)',
    ],
    'check_masked_mean': [
        'return hidden.mean(1)',
        'return (hidden * real[..., None]).mean(1)',
        'return (hidden * real[..., None]).sum(1) / real.sum(1, keepdim=True)',
        'return (hidden * real[..., None]).sum(1) / real.sum().clamp(min=1)',
    ],
    'check_most_alike': [
        'likeness = vectors @ vectors.T\nreturn divmod(likeness.argmax().item(), len(vectors))',
        'likeness = (vectors @ vectors.T).fill_diagonal_(-99)\n'
        'return tuple(sorted(divmod(likeness.argmax().item(), len(vectors))))',
        'vectors = F.normalize(vectors, dim=1)\nlikeness = (vectors @ vectors.T).fill_diagonal_(2)\n'
        'return tuple(sorted(divmod(likeness.argmin().item(), len(vectors))))',
    ],
}
