"""Typical wrong answers to the exercises of 38_precompute; each must be refused."""
WRONG = {
    'check_bill': [
        # validation forgotten
        'def bill(n_train, n_valid, epochs, augmented):\n    return epochs * n_train, n_train * (1 + augmented)',
        # validation pictures copied, too
        'def bill(n_train, n_valid, epochs, augmented):\n'
        '    return epochs * (n_train + n_valid), (n_train + n_valid) * (1 + augmented)',
        # the plain copy forgotten
        'def bill(n_train, n_valid, epochs, augmented):\n'
        '    return epochs * (n_train + n_valid), n_train * augmented + n_valid',
    ],
    'check_feature_bytes': [
        # numbers, not bytes
        'def feature_bytes(n, copies, maps, side, pooled):\n    return n * copies * maps * (2 if pooled else side * side)',
        # one number a map
        'def feature_bytes(n, copies, maps, side, pooled):\n    return 4 * n * copies * maps * (1 if pooled else side * side)',
        # a side, not a square
        'def feature_bytes(n, copies, maps, side, pooled):\n    return 4 * n * copies * maps * (2 if pooled else side)',
    ],
    'check_ask_once': [
        # in whatever mode it is
        'def ask_once(body, x):\n    with torch.no_grad(): return body(x)',
        # mode not put back
        'def ask_once(body, x):\n    body.eval()\n    with torch.no_grad(): return body(x)',
        # gradients traced
        'def ask_once(body, x):\n    mode = body.training\n    body.eval()\n    features = body(x)\n'
        '    body.train(mode)\n    return features',
        # always back to training
        'def ask_once(body, x):\n    body.eval()\n    with torch.no_grad(): features = body(x)\n    body.train()\n'
        '    return features',
    ],
}
