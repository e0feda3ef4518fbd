"""Who does the work. Agents know `model`, `runner` and their own engine; never each other."""
