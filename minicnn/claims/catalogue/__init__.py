"""The claims, one file each. What a file says is fixed before its experiment is run; its SHA-256 shows changes."""
