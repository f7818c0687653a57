"""Laws of group values, one file each."""
