"""Key services, one file each."""
