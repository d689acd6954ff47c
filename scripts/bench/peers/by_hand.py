"""The program that one would write by hand: boto3, requests and ten threads. It has no audit log.

It delivers from QUEUE_URL to SINK_URL until SIGTERM; boto3 reads AWS_ENDPOINT_URL, region and credentials.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any, Final

import boto3
import requests

THREADS: Final = 10

stopped = threading.Event()


def work() -> None:
    """Receive messages, deliver each, and delete those that were accepted."""
    sqs: Any = boto3.session.Session().client("sqs")
    session = requests.Session()
    queue_url, sink_url = os.environ["QUEUE_URL"], os.environ["SINK_URL"]
    while not stopped.is_set():
        answer = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        delivered = []
        for index, message in enumerate(answer.get("Messages", ())):
            headers = {"Content-Type": "application/octet-stream", "X-Aws-Sqsd-Msgid": message["MessageId"]}
            response = session.post(sink_url, data=message["Body"].encode(), headers=headers, timeout=30)
            if response.ok:
                delivered.append({"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]})
        if delivered:
            sqs.delete_message_batch(QueueUrl=queue_url, Entries=delivered)


def main() -> None:
    """Run the threads until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
