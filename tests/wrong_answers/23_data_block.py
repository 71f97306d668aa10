"""Typical wrong answers to the exercises of 23_data_block; each must be refused."""
WRONG = {
    'check_yes_no': [
        'c, loss_func, activation = 1, nn.BCEWithLogitsLoss(), torch.sigmoid\n'
        "def encode(self, item): return torch.tensor(float(item == 'yes'))\n"
        "def decode(self, tensor): return 'yes' if tensor.item() >= .5 else 'no'",
        'c, loss_func, activation = 1, nn.BCEWithLogitsLoss(), torch.sigmoid\n'
        "def encode(self, item): return torch.tensor([int(item == 'yes')])\n"
        "def decode(self, tensor): return 'yes' if tensor.item() >= .5 else 'no'",
        'c, loss_func, activation = 2, nn.CrossEntropyLoss(), torch.sigmoid\n'
        "def encode(self, item): return torch.tensor([float(item == 'yes')])\n"
        "def decode(self, tensor): return 'yes' if tensor.item() >= .5 else 'no'",
        'c, loss_func, activation = 1, nn.BCEWithLogitsLoss(), torch.sigmoid\n'
        "def encode(self, item): return torch.tensor([float(item == 'yes')])\n"
        "def decode(self, tensor): return 'yes' if tensor.item() == 1 else 'no'",
        'c, loss_func = 1, nn.BCEWithLogitsLoss()\n'
        "def encode(self, item): return torch.tensor([float(item == 'yes')])\n"
        "def decode(self, tensor): return 'yes' if tensor.item() >= .5 else 'no'",
        'c, loss_func, activation = 1, nn.BCEWithLogitsLoss(), torch.relu\n'
        "def encode(self, item): return torch.tensor([float(item == 'yes')])\n"
        "def decode(self, tensor): return 'yes' if tensor.item() >= .5 else 'no'",
    ],
}
