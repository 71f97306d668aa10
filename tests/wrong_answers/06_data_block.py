"""Typical wrong answers to the exercises of 06_data_block; every check must refuse them."""
WRONG = {
    'check_yes_no': [
        'c, loss_func = 1, nn.BCEWithLogitsLoss()\n'
        "def encode(self, item): return torch.tensor(float(item == 'yes'))\n"
        "def decode(self, tensor): return 'yes' if tensor.item() >= .5 else 'no'",
        'c, loss_func = 1, nn.BCEWithLogitsLoss()\n'
        "def encode(self, item): return torch.tensor([int(item == 'yes')])\n"
        "def decode(self, tensor): return 'yes' if tensor.item() >= .5 else 'no'",
        'c, loss_func = 2, nn.CrossEntropyLoss()\n'
        "def encode(self, item): return torch.tensor([float(item == 'yes')])\n"
        "def decode(self, tensor): return 'yes' if tensor.item() >= .5 else 'no'",
        'c, loss_func = 1, nn.BCEWithLogitsLoss()\n'
        "def encode(self, item): return torch.tensor([float(item == 'yes')])\n"
        "def decode(self, tensor): return 'yes' if tensor.item() == 1 else 'no'",
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
}
