"""The client of Amazon SQS: the frequent calls, their signer and credentials, and the lookup of a queue.

:mod:`~courier.sqs.queue` looks a queue up once, through boto3. :mod:`~courier.sqs.client` makes the calls that every
message needs. It gets its keys from :mod:`~courier.sqs.credentials` (boto3's chain) and signs with
:mod:`~courier.sqs.signer`. :mod:`~courier.local.virtual` is a queue in memory that speaks the same protocol.
"""
