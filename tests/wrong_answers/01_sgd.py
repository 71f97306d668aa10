"""Typical wrong answers to the exercises of 01_sgd; each must be refused."""
WRONG = {
    'check_mae': [
        'return ((predictions - targets)**2).mean()',       # mse again
        'return (predictions - targets).mean()',            # signs cancel
        'return (predictions - targets).abs().sum()',       # a sum, not an average
        'return (predictions - targets).abs()',             # not one number
    ],
    'check_one_step': [
        'loss(params.requires_grad_()).backward()\n'
        'return params.detach() - lr * params.grad',        # leaves a gradient where there was none
        'params = params.detach().clone().requires_grad_()\n'
        'loss(params).backward()\n'
        'return params.detach() + lr * params.grad',        # up the hill
        'copy = params.detach().clone().requires_grad_()\n'
        'loss(copy).backward()\n'
        'params -= lr * copy.grad\n'
        'return params',                                    # changes what was passed in
        'params = params.detach().clone().requires_grad_()\n'
        'loss(params).backward()\n'
        'return params.detach() - params.grad',             # forgets the learning rate
    ],
    'check_fit_linear': [
        'a = torch.zeros(x.shape[1]).requires_grad_()\n'
        'for _ in range(steps):\n'
        '    mse(x @ a, y).backward()\n'
        '    with torch.no_grad(): a -= lr * a.grad\n'
        'return a.detach()',                                # never clears the gradient
        'a = torch.zeros(x.shape[1]).requires_grad_()\n'
        'for _ in range(steps):\n'
        '    mse(x @ a, y).backward()\n'
        '    with torch.no_grad():\n'
        '        a += lr * a.grad\n'
        '        a.grad.zero_()\n'
        'return a.detach()',                                # up the hill
        'a = torch.zeros(x.shape[1]).requires_grad_()\n'
        'mse(x @ a, y).backward()\n'
        'return (a - lr * a.grad).detach()',                # one step only
        'return torch.linalg.lstsq(x, y[:, None]).solution[:, 0]',   # the answer, but not by these steps
        'a = torch.zeros(2).requires_grad_()\n'
        'for _ in range(steps):\n'
        '    mse(x @ a, y).backward()\n'
        '    with torch.no_grad():\n'
        '        a -= lr * a.grad\n'
        '        a.grad.zero_()\n'
        'return a.detach()',                                # for two parameters only
    ],
    'check_explodes': [
        'return lr > 0.5',                                  # swings, but still shrinks
        'return 1 - 2 * lr > 1',                            # forgets the sign
        'return lr >= 1 and lr < 2',
    ],
}
