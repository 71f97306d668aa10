"""Typical wrong answers to the exercises of 03_practice; each must be refused."""
WRONG = {
    'check_best_accuracy': [
        # right for every group as if all were dogs
        '    return (np.array(shares)*np.array(chances)).sum()',
        # forgets how large the groups are
        '    chances = np.array(chances)\n    return np.maximum(chances, 1 - chances).mean()',
        # guesses by the chances instead of taking the likelier one
        '    shares, chances = np.array(shares), np.array(chances)\n'
        '    return (shares*(chances**2 + (1 - chances)**2)).sum()',
        # forgets to give it back
        '    shares, chances = np.array(shares), np.array(chances)\n'
        '    total = (shares*np.maximum(chances, 1 - chances)).sum()',
    ],
    'check_plan_coins': [
        # one generator for all, started anew for each item: all coins are the same
        "        rng = np.random.default_rng(seed)\n"
        "        truth = int(rng.integers(0, 2))\n"
        "        plan.append((truth, 1 - truth if rng.uniform() < mistakes else truth))",
        # a generator that depends on how many coins there are
        "        rng = item_rng(seed, 'coins', item, number)\n"
        "        truth = int(rng.integers(0, 2))\n"
        "        plan.append((truth, 1 - truth if rng.uniform() < mistakes else truth))",
        # the label is another coin instead of the truth
        "        rng = item_rng(seed, 'coins', item)\n"
        "        plan.append((int(rng.integers(0, 2)), int(rng.integers(0, 2))))",
        # no mistakes at all
        "        truth = int(item_rng(seed, 'coins', item).integers(0, 2))\n"
        "        plan.append((truth, truth))",
    ],
}
