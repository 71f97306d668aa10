"""Typical wrong answers to the exercises of 24_augmentation; each must be refused."""
NOTHING = 'new = rotation(torch.zeros(len({})))\n'
SIZE = 'torch.tensor([size[1], size[0]])'
WRONG = {
    'check_lean': [
        NOTHING.format('amount') + 'new[:, 0, 1] = -amount\nreturn new',  # as if old places asked
        NOTHING.format('amount') + 'new[:, 1, 0] = amount\nreturn new',  # heights change
        NOTHING.format('amount') + 'new[:, 0, 2] = amount\nreturn new',  # a shift
        'new = torch.eye(3)\nnew[0, 1] = amount[0]\nreturn new',  # one matrix for all
        'return rotation(amount)',
    ],
    'check_shift': [
        NOTHING.format('dice') + 'new[:, :2, 2] = (2 * dice - 1) * self.max_shift * torch.tensor(size)\nreturn new',
        NOTHING.format('dice') + f'new[:, :2, 2] = dice * self.max_shift * {SIZE}\nreturn new',  # to one side only
        NOTHING.format('dice') + f'new[:, :2, 2] = (2 * dice[:, :1] - 1) * self.max_shift * {SIZE}\nreturn new',
        NOTHING.format('dice') + f'new[:, 2, :2] = (2 * dice - 1) * self.max_shift * {SIZE}\nreturn new',
        NOTHING.format('dice') + f'new[:, :2, 2] = (dice - .5) * self.max_shift * {SIZE}\nreturn new',  # half as far
    ],
}
