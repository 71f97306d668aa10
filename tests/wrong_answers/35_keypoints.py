"""Typical wrong answers to the exercises of 35_keypoints; each must be refused."""
WRONG = {
    'check_mirrored': [
        'new = points.clone()\nnew[:, 0] = width - points[:, 0]\nreturn new',
        'new = points.clone()\nnew[:, 0] = width - 1 - points[:, 0]\n'
        'for i, j in pairs: new[[i, j]] = new[[j, i]]\nreturn new',
        'points[:, 0] = width - points[:, 0]\nfor i, j in pairs: points[[i, j]] = points[[j, i]]\nreturn points',
        'new = width - points\nfor i, j in pairs: new[[i, j]] = new[[j, i]]\nreturn new',
        'new = points.clone()\nnew[:, 0] = -points[:, 0]\nfor i, j in pairs: new[[i, j]] = new[[j, i]]\nreturn new',
    ],
    'check_eye_error': [
        'return (pred - targ).norm(dim=-1).nanmean()',
        'eyes = (targ[:, 0] - targ[:, 1]).norm(dim=-1)\nreturn ((pred - targ).norm(dim=-1) / eyes[:, None]).mean()',
        'eyes = (pred[:, 0] - pred[:, 1]).norm(dim=-1)\nreturn ((pred - targ).norm(dim=-1) / eyes[:, None]).nanmean()',
        'eyes = (targ[:, 0] - targ[:, 1]).norm(dim=-1)\nreturn (pred - targ).norm(dim=-1).nanmean() / eyes.nanmean()',
        'eyes = (targ[:, 0] - targ[:, 1]).norm(dim=-1)\n'
        'return ((pred - targ).norm(dim=-1).nanmean(1) / eyes).nanmean()',
    ],
    'check_expected_place': [
        'best = scores.flatten().argmax().item()\nreturn best % scores.shape[1] + .5, best // scores.shape[1] + .5',
        'shares = scores.flatten().softmax(0).view(scores.shape)\n'
        'x, y = torch.arange(scores.shape[1]), torch.arange(scores.shape[0])\n'
        'return (shares.sum(0) * x).sum(), (shares.sum(1) * y).sum()',
        'shares = scores.softmax(1)\nx, y = torch.arange(scores.shape[1]) + .5, torch.arange(scores.shape[0]) + .5\n'
        'return (shares.sum(0) * x).sum(), (shares.sum(1) * y).sum()',
        'shares = scores.flatten().softmax(0).view(scores.shape)\n'
        'x, y = torch.arange(scores.shape[1]) + .5, torch.arange(scores.shape[0]) + .5\n'
        'return (shares.sum(1) * y).sum(), (shares.sum(0) * x).sum()',
    ],
}
