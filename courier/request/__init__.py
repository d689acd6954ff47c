"""The HTTP request of a message: its head, headers, authentication and signature."""
