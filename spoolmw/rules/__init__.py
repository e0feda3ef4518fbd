"""What must happen: pure functions without I/O, clock or randomness."""
