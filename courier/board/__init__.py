"""The contents of the scoreboard that need more than one word: counts by kind, failures, shortages, audit states."""
