"""The settings of other programs that deliver from SQS to HTTP, written as a configuration of Courier."""
