"""The sender: delivers each message to the recipient by HTTP POST."""
