"A fingerprint of nested values, for tests that compare everything about a run."
import hashlib

import torch


def digest(value) -> str:
    "The same for the same numbers, bit for bit: of tensors, dicts, lists, and whatever says itself by its `repr`."
    sha = hashlib.sha256()
    def add(v):
        if isinstance(v, torch.Tensor): sha.update(v.detach().cpu().contiguous().numpy().tobytes())
        elif isinstance(v, dict):
            for k in v: sha.update(repr(k).encode()); add(v[k])
        elif isinstance(v, (list, tuple)):
            for u in v: add(u)
        else: sha.update(repr(v).encode())
    add(value)
    return sha.hexdigest()
