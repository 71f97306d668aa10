"""Usual wrong answers to the exercises of 98_field; each must be refused."""
FOUND = "names = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}\n"
WRONG = {
    'check_will_answer': [
        # words, wherever they stand
        'return sorted(name for name in left_out() if name in source)',
        # whoever is given a value, too
        FOUND + 'return sorted(names & set(left_out()))',
        # every name there is
        FOUND + 'return sorted(names)',
        # the attributes
        'names = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}\n'
        'return sorted(names & set(left_out()))',
    ],
}
