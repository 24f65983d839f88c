// The TypeScript SDK's client, version 1 or 2, which has no model: the calls of the scripts.
const v2 = process.env.SDK === "v2";
const of = (one, two) => import(v2 ? `@modelcontextprotocol/client${two}` : `@modelcontextprotocol/sdk/client/${one}.js`);
const { Client } = await of("index", "");
const { StdioClientTransport } = await of("stdio", "/stdio");
const { StreamableHTTPClientTransport } = await of("streamableHttp", "");

const { URL: url, TOKEN, MODE, SERVER, PROMPTS } = process.env;
const [command, ...args] = JSON.parse(SERVER);
const transport = url
  ? new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { Authorization: `Bearer ${TOKEN}` } } })
  : new StdioClientTransport({ command, args });
const client = new Client({ name: "tests", version: "1" }, v2 ? { versionNegotiation: { mode: MODE } } : {});
await client.connect(transport);
console.log("protocol", v2 ? client.getNegotiatedProtocolVersion() : (transport.protocolVersion ?? ""));
const { tools } = await client.listTools();

const said = ({ content }) => content.map(({ text }) => text ?? "").join(" ");
async function call(name, given = {}, options = {}) {
  const params = { name, arguments: given };
  return said(await (v2 ? client.callTool(params, options) : client.callTool(params, undefined, options)));
}
const video = { prompt: "a red fox runs", modelId: "seedance-2-0" };
async function run(prompt, signal) {
  if (prompt === "SCRIPT wait") {
    return call("generate_video", { ...video, prompt: "a slow fox, sandbox:stall", wait: 12 }, { signal });
  }
  if (prompt === "SCRIPT list") return call("check_status");
  const told = [`${tools.map(({ name }) => name)} ${await call("list_models")}`];
  told.push(await call("generate_image", { prompt: "a fox" }));
  told.push(await call("generate_image", { prompt: "a fox", aspectRatio: "wide" }));
  told.push(await call("generate_video", video));
  const [, requestId] = told.at(-1).match(/requestId\W+([0-9a-f-]{36})/) ?? [];
  told.push(requestId ? await call("check_status", { requestId, wait: 40 }) : told.at(-1));
  return told.join("\n--\n");
}
for (const [prompt, seconds] of JSON.parse(PROMPTS)) {
  const signal = AbortSignal.timeout((seconds || 170) * 1000);
  try {
    console.log(prompt, "->", await run(prompt, signal));
  } catch (error) {
    if (!seconds || !signal.aborted) throw error;
    console.log(prompt, "->", "CUT");
  }
}
await client.close();
