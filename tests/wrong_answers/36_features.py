"""Usual wrong answers to the exercises of 36_features; each must be refused."""
WRONG = {
    'check_field_of': [
        # strides do not count
        'return 1 + sum(kernel - 1 for kernel, _ in layers)',
        # the stride of a layer counts for itself
        'field, step = 1, 1\n'
        'for kernel, stride in layers:\n'
        '    step *= stride\n'
        '    field += (kernel - 1) * step\n'
        'return field',
        # the step of the last layer alone
        'field, step = 1, 1\n'
        'for kernel, stride in layers:\n'
        '    field += (kernel - 1) * step\n'
        '    step = stride\n'
        'return field',
        # kernels multiplied
        'field = 1\n'
        'for kernel, stride in layers: field *= kernel\n'
        'return field',
    ],
    'check_dead_channels': [
        # the hook stays
        'hook = hook_output(find_layer(model, layer))\n'
        'with evaluating(model), torch.no_grad(): model.eval()(x)\n'
        'return (hook.stored == 0).all(3).all(2).all(0).sum().item()',
        # asked in training mode
        'with hook_output(find_layer(model, layer)) as hook, torch.no_grad(): model(x)\n'
        'return (hook.stored == 0).all(3).all(2).all(0).sum().item()',
        # left in evaluation mode
        'with hook_output(find_layer(model, layer)) as hook, torch.no_grad(): model.eval()(x)\n'
        'return (hook.stored == 0).all(3).all(2).all(0).sum().item()',
        # dead in one picture is enough
        'with hook_output(find_layer(model, layer)) as hook, evaluating(model), torch.no_grad(): model.eval()(x)\n'
        'return (hook.stored == 0).all(3).all(2).any(0).sum().item()',
        # numbers that are zero, not channels
        'with hook_output(find_layer(model, layer)) as hook, evaluating(model), torch.no_grad(): model.eval()(x)\n'
        'return (hook.stored == 0).sum().item()',
    ],
    'check_rather': [
        # what speaks for the one, whatever the other
        "return torch.einsum('k,khw->hw', weight[one], maps)",
        # what speaks against is cut off
        "return torch.einsum('k,khw->hw', weight[one] - weight[other], maps).relu()",
        # the difference of two maps that were cut off before
        "return torch.einsum('k,khw->hw', weight[one], maps).relu() - "
        "torch.einsum('k,khw->hw', weight[other], maps).relu()",
        # the other way round
        "return torch.einsum('k,khw->hw', weight[other] - weight[one], maps)",
        # the score, at every place alike
        'scores = weight @ maps.mean((1, 2))\n'
        'return (scores[one] - scores[other]).expand(maps.shape[1:])',
    ],
    'check_mirror': [
        'return features_of(x.flip(3))',                                    # only the mirror image
        'return (features_of(x) + features_of(x.flip(2))) / 2',             # upside down
        'return (features_of(x) + features_of(x.flip(0))) / 2',             # another picture
        'return torch.cat([features_of(x), features_of(x.flip(3))], 1)',    # both
        'return torch.maximum(features_of(x), features_of(x.flip(3)))',     # the larger of both
    ],
}
