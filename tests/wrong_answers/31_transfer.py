"""Typical wrong answers to the exercises of 31_transfer; each must be refused."""
WRONG = {
    'check_small_head': [
        # concat pool in the drawing, linear layer too narrow
        'def small_head(n_features, n_out):\n'
        '    return nn.Sequential(AdaptiveConcatPool2d(), nn.Flatten(), nn.Dropout(.2), nn.Linear(n_features, n_out))',
        # maximum in place of the average
        'def small_head(n_features, n_out):\n'
        '    return nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Dropout(.2), nn.Linear(n_features, n_out))',
        # no bias
        'def small_head(n_features, n_out):\n'
        '    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(.2),\n'
        '                         nn.Linear(n_features, n_out, bias=False))',
        # dropout forgotten
        'def small_head(n_features, n_out):\n'
        '    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_features, n_out))',
        # the finished head with other sizes
        'def small_head(n_features, n_out): return create_head(n_features, n_out, ps=.2)',
    ],
    'check_count_trained': [
        # all parameters
        'def count_trained(learn, n):\n    learn.freeze_to(n)\n    return sum(p.numel() for p in learn.model.parameters())',
        # tensors in place of numbers
        'def count_trained(learn, n):\n    learn.freeze_to(n)\n'
        '    return sum(p.requires_grad for p in learn.model.parameters())',
        # not frozen at all
        'def count_trained(learn, n):\n'
        '    return sum(p.numel() for p in learn.model.parameters() if p.requires_grad)',
        # unfrozen again at the end
        'def count_trained(learn, n):\n    learn.freeze_to(n)\n'
        '    count = sum(p.numel() for p in learn.model.parameters() if p.requires_grad)\n'
        '    learn.unfreeze()\n    return count',
    ],
    'check_four_groups': [
        # all parameters in one group
        'def four_groups(model): return [list(model.parameters())]',
        # layers in place of parameters
        'def four_groups(model): return [list(child) if isinstance(child, nn.Sequential) else [child] for child in model]',
        # the other way round
        'def four_groups(model): return [list(child.parameters()) for child in model][::-1]',
        # weights only
        'def four_groups(model):\n'
        '    return [[p for name, p in child.named_parameters() if name.endswith("weight")] for child in model]',
    ],
}
