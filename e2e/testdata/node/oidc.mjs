// A provider of identities (OpenID Connect) with one client, for which everybody may log in. It is run as
// oidc.mjs ID SECRET REDIRECT-URI.
import { createServer } from "node:http";

const { default: Provider } = await import(process.env.NODE_MODULES + "/node_modules/oidc-provider/lib/index.js");
const [id, secret, back] = process.argv.slice(2);

const server = createServer((req, res) => handle(req, res));
let handle;
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: id, client_secret: secret, redirect_uris: [back], post_logout_redirect_uris: [new URL("/", back).href],
      response_types: ["code"], grant_types: ["authorization_code", "refresh_token"], token_endpoint_auth_method: "client_secret_basic",
    }],
    pkce: { required: () => true, methods: ["S256"] },
    cookies: { keys: ["for a test"] },
  });
  for (const event of ["grant.error", "authorization.error", "server_error"]) {
    provider.on(event, (...args) => process.stdout.write(`${event}: ${args[args.length - 1].error_description ?? args[args.length - 1]}\n`));
  }
  handle = provider.callback();
  process.stdout.write(`at ${issuer}\n`);
});
