"""What every room may use: errors with exit statuses, addresses, names. No I/O, no third-party import,
but for `yamlfile`, which reads what users write, for every room that has files of its own."""
