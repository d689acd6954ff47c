"""The native HTTP client session and its parts. It knows no SQS, no messages and no processes."""
