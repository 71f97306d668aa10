"""Usual wrong answers to the exercises of 60_optimizers; each must be refused."""


def _adagrad(*body):
    return '\n'.join(['def step(p, lr, eps, sqr_sum=None):', *(f'    {line}' for line in body),
                      'return Optimizer(params, step, lr=lr, eps=eps)'])


WRONG = {
    'check_adagrad': [
        _adagrad('if sqr_sum is None: sqr_sum = torch.zeros_like(p)',        # divides before it adds
                 'p.add_(p.grad / (sqr_sum.sqrt() + eps), alpha=-lr)',
                 "return {'sqr_sum': sqr_sum + p.grad**2}"),
        _adagrad('if sqr_sum is None: sqr_sum = torch.zeros_like(p)',        # eps inside the root
                 'sqr_sum = sqr_sum + p.grad**2',
                 'p.add_(p.grad / (sqr_sum + eps).sqrt(), alpha=-lr)',
                 "return {'sqr_sum': sqr_sum}"),
        _adagrad('sqr_sum = p.grad**2 if sqr_sum is None else sqr_sum + p.grad**2',   # forgets to return it
                 'p.add_(p.grad / (sqr_sum.sqrt() + eps), alpha=-lr)'),
    ],
    'check_clipped_sgd': [
        'def clip(p, most): p.grad.clamp_(-most, most)\n'
        'return Optimizer(params, [clip, sgd_step], lr=lr, most=most)',
        'def clip(p, most): p.grad = p.grad.clamp(max=most)\n'
        'return Optimizer(params, [clip, sgd_step], lr=lr, most=most)',
        'def clip(p, most): p.grad = p.grad.clamp(-most, most)\n'
        'return Optimizer(params, [sgd_step, clip], lr=lr, most=most)',
    ],
    'check_turned': [
        'return valley(w, kappa)',
        'along, across = w[0] + w[1], w[0] - w[1]\nreturn (along**2 / kappa + across**2) / 2',
        'along, across = (w[0] - w[1]) / 2**.5, (w[0] + w[1]) / 2**.5\nreturn (along**2 / kappa + across**2) / 2',
    ],
}
