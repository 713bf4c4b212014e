"""One adapter for each contestant. Its first lines name what it needs, its docstring what it cannot do."""
