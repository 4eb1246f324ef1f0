"""What the `leadpact` command does, beside services/__main__.py, which says what it is called."""
