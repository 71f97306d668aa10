"""Usual wrong answers to the exercises of 60_optimizers; each must be refused."""
WRONG = {
    'check_adagrad': [
        'if sqr_sum is None: sqr_sum = torch.zeros_like(p)\n'
        'p.add_(p.grad / (sqr_sum.sqrt() + eps), alpha=-lr)\n'
        "return {'sqr_sum': sqr_sum + p.grad**2}",                       # divides before it adds
        'if sqr_sum is None: sqr_sum = torch.zeros_like(p)\n'
        'sqr_sum = sqr_sum + p.grad**2\n'
        'p.add_(p.grad / (sqr_sum + eps).sqrt(), alpha=-lr)\n'
        "return {'sqr_sum': sqr_sum}",                                   # eps inside the root
        'sqr_sum = p.grad**2 if sqr_sum is None else sqr_sum + p.grad**2\n'
        'p.add_(p.grad / (sqr_sum.sqrt() + eps), alpha=-lr)',            # forgets to return it
    ],
    'check_clip_grad': [
        'p.grad.clamp_(-most, most)',
        'p.grad = p.grad.clamp(max=most)',
        'return p.grad.clamp(-most, most)',
    ],
    'check_amsgrad': [
        'root = (sqr_avg / (1 - sqr_mom**step)).sqrt() + eps\n'
        'p.add_(grad_avg / (1 - mom**step) / root, alpha=-lr)',
        'highest = sqr_avg if highest is None else torch.maximum(highest, sqr_avg)\n'
        'root = highest.sqrt() + eps\n'
        'p.add_(grad_avg / root, alpha=-lr)\n'
        "return {'highest': highest}",
    ],
    'check_turned': [
        'return valley(w, kappa)',
        'along, across = w[0] + w[1], w[0] - w[1]\nreturn (along**2 / kappa + across**2) / 2',
        'along, across = (w[0] - w[1]) / 2**.5, (w[0] + w[1]) / 2**.5\nreturn (along**2 / kappa + across**2) / 2',
    ],
}
