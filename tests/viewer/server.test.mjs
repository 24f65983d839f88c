// The whole: the page, its policy and every answer come from the server, which has its sandbox.
import { after, test } from "node:test";
import assert from "node:assert/strict";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { getToolUiResourceUri, RESOURCE_MIME_TYPE } from "@modelcontextprotocol/ext-apps/app-bridge";
import { given, open } from "./stage.mjs";

const client = new Client({ name: "test-host", version: "1" }, {
  capabilities: { extensions: { "io.modelcontextprotocol/ui": { mimeTypes: [RESOURCE_MIME_TYPE] } } },
});
await client.connect(new StreamableHTTPClientTransport(new URL(given.server)));
after(() => client.close());

const CALL = { prompt: "A lighthouse in fog", modelId: "nanobanana-2", aspectRatio: "16:9", wait: 0 };

test("the generating tools and check_status show their answers in the viewer", async () => {
  const { tools } = await client.listTools();
  const shown = tools.filter((tool) => getToolUiResourceUri(tool)).map(({ name }) => name);
  assert.deepEqual(shown.sort(), ["check_status", "generate_image", "generate_video"]);
  assert.deepEqual([...new Set(tools.map(getToolUiResourceUri))].filter(Boolean), [
    "ui://meigen/viewer.html",
  ]);
});

test("an image is made, watched until it is there, varied, and found in the list", async () => {
  const first = await client.callTool({ name: "generate_image", arguments: CALL });
  const { contents: [{ mimeType, text: html, _meta: { ui: meta } }] } =
    await client.readResource({ uri: "ui://meigen/viewer.html" });
  assert.equal(mimeType, RESOURCE_MIME_TYPE);
  const stage = await open({
    input: CALL, result: first, html, meta,
    answer: (method, params) => ({
      "tools/call": () => client.callTool(params),
      "resources/read": () => client.readResource(params),
    })[method]?.() ?? {},
  });
  stage.page.setDefaultTimeout(30_000);
  await stage.button("Copy link").waitFor();
  await stage.loaded();
  const picture = stage.view.getByRole("img", { name: CALL.prompt });
  const before = await picture.getAttribute("src");
  assert.match(before, /^http:\/\/127\.0\.0\.1:\d+\//);
  await stage.button("Vary").click();
  await stage.view.getByRole("button", { name: /^Spend / }).click();
  await stage.button("Back").waitFor();
  await stage.button("Copy link").waitFor();
  await stage.loaded();
  assert.notEqual(await picture.getAttribute("src"), before);
  const made = await client.callTool({ name: "check_status", arguments: {} });
  assert.deepEqual(made.structuredContent.generations.map(({ status }) => status), [
    "completed", "completed",
  ]);
  await stage.clean({ origins: meta.csp.resourceDomains });
});
