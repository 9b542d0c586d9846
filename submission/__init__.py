"""Challenge definitions, submission files, their checks and scores."""
