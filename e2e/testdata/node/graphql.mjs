// A GraphQL server with a subscription over WebSocket, or a client of it that answers lines of its
// standard input.
import { createRequire } from "node:module";
import { createServer } from "node:http";
import dns from "node:dns";
import readline from "node:readline";

const require = createRequire(process.env.NODE_MODULES + "/");
// Every name is this machine.
const lookup = dns.lookup;
dns.lookup = (_, ...rest) => lookup("127.0.0.1", ...rest);
const say = (line) => process.stdout.write(line + "\n");

function server(name) {
  const { buildSchema } = require("graphql");
  const { useServer } = require("graphql-ws/use/ws");
  const { WebSocketServer } = require("ws");
  const listeners = new Set();
  const http = createServer((_, res) => { res.setHeader("X-App", name); res.end(name); });
  const ws = new WebSocketServer({ server: http, path: "/graphql" });
  async function* said() {
    const queue = ["subscribed"];
    let wake = () => {};
    const listener = (text) => { queue.push(text); wake(); };
    listeners.add(listener);
    try {
      for (;;) {
        while (queue.length) yield { said: queue.shift() };
        await new Promise((resolve) => { wake = resolve; });
      }
    } finally {
      listeners.delete(listener);
    }
  }
  useServer({
    schema: buildSchema("type Query { say(text: String!): Int! } type Subscription { said: String! }"),
    roots: {
      query: { say: ({ text }) => { listeners.forEach((l) => l(text)); return listeners.size; } },
      subscription: { said },
    },
  }, ws, 1000);
  http.listen(0, "127.0.0.1", () => say("127.0.0.1:" + http.address().port));
}

function client(url) {
  const { createClient } = require("graphql-ws");
  const c = createClient({
    url, webSocketImpl: require("ws"), lazy: false, keepAlive: 500, retryAttempts: 1000, shouldRetry: () => true,
    retryWait: () => new Promise((resolve) => setTimeout(resolve, 50 + Math.random() * 150)),
    on: {
      connected: () => say("connected"), pong: () => say("pong"), error: (e) => say("failed " + e.message),
      closed: (event) => say("closed " + event.code + " " + event.reason),
    },
  });
  c.subscribe({ query: "subscription { said }" }, { next: (m) => say("said " + m.data.said), error: (e) => say("failed " + e), complete() {} });
  readline.createInterface({ input: process.stdin }).on("line", (text) => {
    c.subscribe({ query: "query($text: String!) { say(text: $text) }", variables: { text } }, { next() {}, error: (e) => say("failed " + e), complete() {} });
  });
}

const [role, ...rest] = process.argv.slice(2);
({ server, client })[role](...rest);
process.stdin.on("end", () => process.exit(0)).resume();
