"""The ground floor: types, cameras, schedules, randomness and checks. torch and numpy only."""
