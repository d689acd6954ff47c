"""The auditor role: it records each outcome, makes the record durable, and then settles with SQS."""
