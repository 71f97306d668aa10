"""Typical wrong answers to the exercises of 30_bodies; each must be refused."""
WRONG = {
    'check_body_of': [
        # the pooling is taken along
        'return nn.Sequential(*list(net.children())[:3])',
        # always without the last two
        'return nn.Sequential(*list(net.children())[:-2])',
        # a list, not a network
        'before = []\n'
        'for child in net.children():\n'
        '    if isinstance(child, nn.AdaptiveAvgPool2d): break\n'
        '    before.append(child)\n'
        'return before',
        # the convolutions alone
        'return nn.Sequential(*[c for c in net.children() if isinstance(c, nn.Conv2d)])',
        # copies, which are trained apart from the network
        'from copy import deepcopy\n'
        'before = []\n'
        'for child in net.children():\n'
        '    if isinstance(child, nn.AdaptiveAvgPool2d): break\n'
        '    before.append(deepcopy(child))\n'
        'return nn.Sequential(*before)',
    ],
}
