"""Typical wrong answers to the exercises of 00_core; each must be refused."""
WRONG = {
    'check_shuffled': [
        'random.seed(seed)\nitems = list(items)\nrandom.shuffle(items)\nreturn items',     # disturbs everybody else
        'with rng_guard(seed): random.shuffle(items)\nreturn items',                       # changes the caller's list
        'with rng_guard(): items = random.sample(list(items), len(items))\nreturn items',  # forgets the seed
    ],
    'check_to_tensor': [
        'return torch.from_numpy(array).reshape(3, *array.shape[:2]).float() / 255',   # scrambles the pixels
        'return torch.from_numpy(array).permute(2, 0, 1).float()',                     # still 0 to 255
        'return torch.from_numpy(array).float() / 255',                                # channels last
        'return torch.from_numpy(array).permute(2, 0, 1) // 255',                      # whole numbers
    ],
}
