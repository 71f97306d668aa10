"""Typical wrong answers to the exercises of 24_augmentation; each must be refused."""
NOTHING = 'new = torch.eye(3).repeat(len({}), 1, 1)\n'
SIZE = 'torch.tensor([size[1], size[0]])'
WRONG = {
    'check_lean': [
        NOTHING.format('amount') + 'new[:, 0, 1] = -amount\nreturn new',  # as if old places asked
        NOTHING.format('amount') + 'new[:, 1, 0] = amount\nreturn new',  # heights change
        NOTHING.format('amount') + 'new[:, 0, 2] = amount\nreturn new',  # a shift
        'new = torch.eye(3)\nnew[0, 1] = amount[0]\nreturn new',  # one matrix for all
        'return _rotation(amount)',
    ],
    'check_shift': [
        NOTHING.format('dice') + 'new[:, :2, 2] = (2 * dice - 1) * self.max_shift * torch.tensor(size)\n'
        'return new',
        NOTHING.format('dice') + f'new[:, :2, 2] = dice * self.max_shift * {SIZE}\nreturn new',  # to one side
        NOTHING.format('dice') + f'new[:, :2, 2] = (2 * dice[:, :1] - 1) * self.max_shift * {SIZE}\nreturn new',
        NOTHING.format('dice') + f'new[:, 2, :2] = (2 * dice - 1) * self.max_shift * {SIZE}\nreturn new',
        NOTHING.format('dice') + f'new[:, :2, 2] = (dice - .5) * self.max_shift * {SIZE}\nreturn new',  # half
    ],
    'check_presize': [
        'return math.ceil(side * max_zoom / min_scale)',  # as if the share were one of the side
        'return math.ceil(side / max_zoom / min_scale**.5)',  # the zoom the wrong way round
        'return int(side * max_zoom / min_scale**.5)',  # one too small
        'return math.ceil(side / min_scale**.5)',  # without the zoom
    ],
}
