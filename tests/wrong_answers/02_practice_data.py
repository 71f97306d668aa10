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
    'check_split_by_group': [
        # splits pictures, not groups
        '    return rng.uniform(size=len(groups)) < share',
        # the first groups, whatever the generator says
        '    names = np.unique(groups)\n    return np.isin(groups, names[:round(share*len(names))])',
        # the wrong way round: validation gets what training should
        '    names = np.unique(groups)\n'
        '    return ~np.isin(groups, rng.permutation(names)[:round(share*len(names))])',
        # the names of the groups instead of a decision for each picture
        '    names = np.unique(groups)\n    return rng.permutation(names)[:round(share*len(names))]',
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
