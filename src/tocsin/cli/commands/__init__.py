"""Commands by room, one file each."""
