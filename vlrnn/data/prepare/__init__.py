"""What the scripts of `data_prep/` share."""
