"""Types, cameras, schedules, random numbers and checks. Needs torch and numpy only."""
