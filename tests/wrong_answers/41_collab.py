"""Typical wrong answers to the exercises of 41_collab; each must be refused."""
WRONG = {
    'check_nearest_rows': [
        'return F.cosine_similarity(vectors, vectors[row][None], dim=1).topk(k).indices',
        'alike = vectors @ vectors[row]\nalike[row] = -torch.inf\nreturn alike.topk(k).indices',
        'alike = F.cosine_similarity(vectors, vectors[row][None], dim=1)\nalike[row] = torch.inf\n'
        'return alike.topk(k, largest=False).indices',
        'far = (vectors - vectors[row]).norm(dim=1)\nfar[row] = torch.inf\nreturn far.topk(k, largest=False).indices',
    ],
    'check_last_ones': [
        'return (table.timestamp.rank(ascending=False) <= n).to_numpy()',
        'return (table.groupby("userId").timestamp.rank() <= n).to_numpy()',
        'return (table.groupby("userId").cumcount(ascending=False) < n).to_numpy()',
        'return (table.groupby("userId").timestamp.rank(ascending=False) < n).to_numpy()',
    ],
    'check_meet': [
        'return torch.linalg.solve(Q.T @ Q + penalty * torch.eye(Q.shape[1]), Q.T @ r)',
        'return torch.linalg.lstsq(Q, r - b).solution',
        'return torch.linalg.solve(Q.T @ Q + penalty, Q.T @ (r - b))',
        'return Q.T @ (r - b)',
    ],
    'check_hit_rate': [
        'best = scores.topk(k, dim=1).indices\nreturn liked.gather(1, best).float().mean()',
        'best = scores.topk(k, dim=0).indices\nreturn liked.gather(0, best).any(0).float().mean()',
        'best = scores.topk(k, dim=1).indices\nreturn liked.gather(1, best).all(1).float().mean()',
        'best = scores.topk(k, dim=1, largest=False).indices\nreturn liked.gather(1, best).any(1).float().mean()',
    ],
    'check_error_by_stars': [
        'errors = (preds - targets).square()\nreturn {s: errors[preds.round() == s].mean().item() for s in targets.unique().tolist()}',
        'errors = (preds - targets).square()\nreturn {s: errors[targets == s].sum().item() for s in targets.unique().tolist()}',
        'errors = (preds - targets).abs()\nreturn {s: errors[targets == s].mean().item() for s in targets.unique().tolist()}',
        'errors = (preds - targets).square()\nreturn {s: errors.mean().item() for s in targets.unique().tolist()}',
    ],
}
