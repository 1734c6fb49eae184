"""What is configured outside the code: durations, environment files."""
