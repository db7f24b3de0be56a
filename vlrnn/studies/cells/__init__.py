"""Studies of recurrences by themselves, without a data set."""
