"""Challenge definitions, submission files and their checks, scores and the leaderboard."""
