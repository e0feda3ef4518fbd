"""What happened: the journal. SQLite only here."""
