"""What things are: frozen records without behaviour. Imports nothing of the package but `errors`."""
