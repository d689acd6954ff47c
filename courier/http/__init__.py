"""HTTP: the native client session and its parts. Knows no SQS, no messages, no processes."""
