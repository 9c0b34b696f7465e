"""What users rely on, tested with real processes, under every start method that it applies to."""
