"""An SQS in memory that speaks the service's JSON protocol; see docs/decisions/virtual-queue.md."""
