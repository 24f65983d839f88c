// The TypeScript SDKs sign in: node typescript.mjs v1|v2 URL NAME FORMS PYTHON
import { execFileSync } from 'node:child_process';
const [, , which, url, name, forms, python] = process.argv;
const back = 'http://127.0.0.1:1/back';

const kept = {};
const provider = {
  redirectUrl: back,
  clientMetadata: {
    client_name: 'tests', redirect_uris: [back], response_types: ['code'],
    grant_types: ['authorization_code', 'refresh_token'], token_endpoint_auth_method: 'none',
  },
  clientInformation: () => kept.client,
  saveClientInformation: (client) => { kept.client = client; },
  tokens: () => kept.tokens,
  saveTokens: (tokens) => { kept.tokens = tokens; },
  saveCodeVerifier: (verifier) => { kept.verifier = verifier; },
  codeVerifier: () => kept.verifier,
  saveDiscoveryState: (state) => { kept.discovery = state; },
  discoveryState: () => kept.discovery,
  redirectToAuthorization: (to) => {
    kept.back = execFileSync(python, [forms, String(to), name, back], { encoding: 'utf8' }).trim();
  },
};

const v2 = which === 'v2';
const { Client } = await import(v2 ? '@modelcontextprotocol/client' : '@modelcontextprotocol/sdk/client/index.js');
const { StreamableHTTPClientTransport } = await import(
  v2 ? '@modelcontextprotocol/client' : '@modelcontextprotocol/sdk/client/streamableHttp.js');

const open = () => new StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
const client = () => new Client({ name: 'tests', version: '1' }, v2 ? { versionNegotiation: { mode: 'auto' } } : {});
let transport = open();
let on = client();
try {
  await on.connect(transport);
} catch (error) {
  if (!kept.back) throw error;
  const told = new URL(kept.back).searchParams;
  await (v2 ? transport.finishAuth(told) : transport.finishAuth(told.get('code')));
  transport = open();
  on = client();
  await on.connect(transport);
}
const call = { name: 'generate_image', arguments: { prompt: `a fox of ${name}` } };
const made = await on.callTool(call);
console.log(made.structuredContent?.status, kept.tokens?.refresh_token ? 'and may renew' : '');
await on.close();
