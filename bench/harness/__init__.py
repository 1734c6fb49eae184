"""What every case of the bench uses: pinned processes, contestants, load, figures and the report."""
