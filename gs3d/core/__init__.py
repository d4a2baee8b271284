"""Data types, cameras, schedules, random numbers and checks. Depends on torch and numpy only."""
