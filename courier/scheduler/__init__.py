"""The scheduler: enqueues the periodic tasks of a ``cron.yaml``, as aws-sqsd does."""
