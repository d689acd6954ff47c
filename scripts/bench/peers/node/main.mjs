// sqs-consumer with undici: takes QUEUE_URL to SINK_URL until SIGTERM. It records nothing.
// AWS_ENDPOINT_URL, region and credentials are the SDK's own.

import http from "node:http";
import { SQSClient } from "@aws-sdk/client-sqs";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { Consumer } from "sqs-consumer";
import { Pool } from "undici";

const CONSUMERS = 10;
const sinkUrl = new URL(process.env.SINK_URL);
const sink = new Pool(sinkUrl.origin, { connections: CONSUMERS * 10 });
const httpAgent = new http.Agent({ keepAlive: true, maxSockets: CONSUMERS * 2 });
const sqs = new SQSClient({ requestHandler: new NodeHttpHandler({ httpAgent }) });

async function deliver(message) {
  const { statusCode, body } = await sink.request({
    method: "POST",
    path: sinkUrl.pathname,
    headers: { "content-type": "application/octet-stream", "x-aws-sqsd-msgid": message.MessageId },
    body: message.Body,
  });
  await body.dump();
  return statusCode >= 200 && statusCode < 300 ? message : undefined;
}

// One batch at a time in each consumer: sqs-consumer deletes what the handler returns, in one call.
const consumers = Array.from({ length: CONSUMERS }, () =>
  Consumer.create({
    queueUrl: process.env.QUEUE_URL,
    sqs,
    batchSize: 10,
    waitTimeSeconds: 1,
    handleMessageBatch: async (messages) => (await Promise.all(messages.map(deliver))).filter(Boolean),
  }),
);
for (const consumer of consumers) {
  consumer.on("error", (error) => console.error(error.message));
  consumer.on("processing_error", (error) => console.error(error.message));
  consumer.start();
}

process.on("SIGTERM", () => {
  for (const consumer of consumers) consumer.stop({ abort: true });
  setTimeout(() => process.exit(0), 2000).unref();
});
