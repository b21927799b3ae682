"""What every room may use: errors with exit statuses, addresses, names. No I/O, no third-party import."""
