"""Usual wrong answers to the exercises of 51_language_model; each must be refused."""
WRONG = {
    'check_joint_perplexity': [
        'return sum(math.exp(loss) * count for loss, count in zip(losses, counts)) / sum(counts)',
        'return math.exp(sum(losses) / len(losses))',
        'return sum(loss * count for loss, count in zip(losses, counts)) / sum(counts)',
        'return math.exp(sum(loss * count for loss, count in zip(losses, counts)))',
    ],
    'check_stream_windows': [
        'n = (len(stream) - 1) // (bs * seq_len) * bs * seq_len\nx = stream[:n].view(-1, bs, seq_len)\n'
        'y = stream[1:n + 1].view(-1, bs, seq_len)\nreturn list(zip(x, y))',
        'length = (len(stream) - 1) // bs\nx = stream[:bs * length].view(bs, length)\n'
        'return [(x[:, i:i + seq_len], x[:, i:i + seq_len]) for i in range(0, length - seq_len + 1, seq_len)]',
        'length = (len(stream) - 1) // bs\nx = stream[:bs * length].view(bs, length)\n'
        'y = stream[1:bs * length + 1].view(bs, length)\n'
        'return [(x[:, i:i + seq_len], y[:, i:i + seq_len]) for i in range(0, length - seq_len + 1)]',
        'length = (len(stream) - 1) // bs\nx = stream[:bs * length].view(length, bs).T\n'
        'y = stream[1:bs * length + 1].view(length, bs).T\n'
        'return [(x[:, i:i + seq_len], y[:, i:i + seq_len]) for i in range(0, length - seq_len + 1, seq_len)]',
    ],
    'check_gru': [
        'x_r, x_z, x_n = gates_x.chunk(3, 1)\nh_r, h_z, h_n = gates_h.chunk(3, 1)\n'
        'r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()\nn = (x_n + r * h_n).tanh()\nreturn z * n + (1 - z) * h',
        'x_r, x_z, x_n = gates_x.chunk(3, 1)\nh_r, h_z, h_n = gates_h.chunk(3, 1)\n'
        'r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()\nn = (r * (x_n + h_n)).tanh()\nreturn (1 - z) * n + z * h',
        'x_z, x_r, x_n = gates_x.chunk(3, 1)\nh_z, h_r, h_n = gates_h.chunk(3, 1)\n'
        'r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()\nn = (x_n + r * h_n).tanh()\nreturn (1 - z) * n + z * h',
        'x_r, x_z, x_n = gates_x.chunk(3, 1)\nh_r, h_z, h_n = gates_h.chunk(3, 1)\n'
        'z = (x_z + h_z).sigmoid()\nreturn (1 - z) * (x_n + h_n).tanh() + z * h',
    ],
}
