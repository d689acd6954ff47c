"""Dead letters: the messages of a dead-letter or failure queue, why they are there, and what can be done with them."""
