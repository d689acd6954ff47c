// fauxqs on a free port of loopback. Its own command listens on every address, at a port that has to be known before.
import { buildApp } from "fauxqs";
import { SqsStore } from "./node_modules/fauxqs/dist/sqs/sqsStore.js";

const sqsStore = new SqsStore();
// A queue's URL has the address by which its maker reached the server, and no name that needs a DNS of its own.
sqsStore.host = undefined;
// As in later releases, which need a newer Node: a client behind a proxy names the queue by the proxy's address.
sqsStore.getQueue = (url) => sqsStore.getQueueByName(url.split("/").at(-1));

const app = buildApp({ logger: false, stores: { sqsStore } });
process.on("SIGTERM", () => app.close().then(() => process.exit(0)));
console.log(`listening on ${await app.listen({ port: 0, host: "127.0.0.1" })}`);
