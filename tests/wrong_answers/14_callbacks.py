"""Usual wrong answers to the exercises of 14_callbacks; each must be refused."""
WRONG = {
    'check_gradient_norms': [
        'norms = []\n'
        'def before_step(self):\n'
        '    grads = [p.grad.flatten() for p in self.learn.model.parameters()]\n'
        '    self.norms.append(torch.cat(grads).norm().item())',                       # goes on in the next fit
        'def before_fit(self): self.norms = []\n'
        'def before_step(self):\n'
        '    self.norms.append(sum(p.grad.norm().item() for p in self.learn.model.parameters()))',    # lengths do not add up
        'def before_fit(self): self.norms = []\n'
        'def after_batch(self):\n'
        '    grads = [p.flatten() for p in self.learn.model.parameters()]\n'
        '    self.norms.append(torch.cat(grads).norm().item())',                       # of the weights, and while validating
    ],
}
