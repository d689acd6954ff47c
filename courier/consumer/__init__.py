"""The consumer: receives from SQS as many messages as may wait."""
