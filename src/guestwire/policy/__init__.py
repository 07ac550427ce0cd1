"""What *we* decide: pure functions of their arguments, `now` among them."""
