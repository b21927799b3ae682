"""What every room may use: errors with exit statuses, addresses, names, canonical JSON. No I/O, no third-party import."""
