// A socket.io server, or clients of one that are told by lines of their standard input.
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
  const { Server } = require("socket.io");
  const http = createServer((_, res) => { res.setHeader("X-App", name); res.end(name); });
  const io = new Server(http, { pingInterval: 1000, pingTimeout: 5000 });
  io.on("connection", (socket) => {
    socket.on("echo", (text, answer) => answer(text === "who" ? "instance " + name : "said " + text));
  });
  http.listen(0, "127.0.0.1", () => say("127.0.0.1:" + http.address().port));
}

// There are n clients. Each line begins with the number of one.
function client(url, n) {
  const { io } = require("socket.io-client");
  const sockets = Array.from({ length: Number(n) }, (_, i) => {
    const socket = io(url, { forceNew: true, withCredentials: true, reconnectionDelay: 50, reconnectionDelayMax: 200 });
    const tell = (line) => say(i + " " + line);
    socket.on("connect", () => tell("connected"));
    socket.on("disconnect", (why) => tell("disconnected " + why));
    socket.on("connect_error", (err) => tell("failed " + err.message));
    socket.io.engine.on("upgrade", (transport) => tell("upgraded " + transport.name));
    return socket;
  });
  readline.createInterface({ input: process.stdin }).on("line", (line) => {
    const [i, text] = line.split(" ");
    sockets[i].emit("echo", text, (answer) => say(i + " " + answer));
  });
}

const [role, ...rest] = process.argv.slice(2);
({ server, client })[role](...rest);
process.stdin.on("end", () => process.exit(0)).resume();
