"""What is configured outside the code: the configuration file, durations, environment files."""
