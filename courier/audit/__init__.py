"""The audit log: what was delivered, durable before the message leaves the queue."""
