"""Courier takes messages from Amazon SQS and delivers each one to an HTTP recipient.

    supervisor    forks, watches, restarts and stops the rest
      consumer×N  SQS ReceiveMessage        → work channel
      sender×M    work channel → HTTP POST  → acks channel
      auditor×1   acks channel → audit log, made durable → SQS delete or change visibility

A message is deleted only after the recipient answered with success and its audit record is durable.
:mod:`courier.pipeline` is the map: which role runs what, joined by which channel, started and stopped when.
"""

__version__ = "0.2.0"
