"""The audit log: durable records of deliveries, written before a message is deleted from its queue."""
