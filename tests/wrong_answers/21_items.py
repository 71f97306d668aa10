"""Typical wrong answers to the exercises of 21_items; each must be refused."""
WRONG = {
    'check_leaked': [
        'return sorted(set(train) & set(valid))',               # the items, not their groups
        'return {group(i) for i in train} & {group(i) for i in valid}',     # not a sorted list
        'return sorted({group(item) for item in train + valid})',           # all groups
        'return sorted(group(i) for i in valid if group(i) in {group(j) for j in train})',   # zoe twice
    ],
    'check_by_last_films': [
        'return list(range(len(items) - n)), list(range(len(items) - n, len(items)))',
        'films = sorted({film for film, frame in items})[-n:]\n'
        'return ([i for i, (film, _) in enumerate(items) if film not in films],\n'
        '        [i for i, (film, _) in enumerate(items) if film in films])',
        'films = list(dict.fromkeys(film for film, frame in items))[-n:]\n'
        'return ([i for i, (film, _) in enumerate(items) if film in films],\n'
        '        [i for i, (film, _) in enumerate(items) if film not in films])',
        'films = list(dict.fromkeys(film for film, frame in items))[:n]\n'
        'return ([i for i, (film, _) in enumerate(items) if film not in films],\n'
        '        [i for i, (film, _) in enumerate(items) if film in films])',
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
}
