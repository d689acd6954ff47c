"""The client of Amazon SQS: the frequent calls, their signer and credentials, and the lookup of a queue.

:mod:`~courier.sqs.lookup` looks a queue up once. :mod:`~courier.sqs.client` makes the calls that every message needs.
It gets its keys from :mod:`~courier.sqs.credentials` and signs with :mod:`~courier.sqs.signer`. Keys, region and
endpoint are those of boto3: :mod:`~courier.sqs.discovery` finds them. :mod:`~courier.local.virtual` is a queue in
memory that speaks the same protocol.
"""
