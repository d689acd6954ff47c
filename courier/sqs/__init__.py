"""Talking to Amazon SQS: the client of the hot calls, its signer, its credentials, and how a queue is found.

:mod:`~courier.sqs.queue` resolves a queue once, through boto3. :mod:`~courier.sqs.client` makes the calls that every
message needs; it takes its keys from :mod:`~courier.sqs.credentials` (boto3's chain) and signs with
:mod:`~courier.sqs.signer`. :mod:`~courier.sqs.virtual` is a queue in memory that speaks the same protocol.
"""
