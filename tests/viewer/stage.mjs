// A stage for the viewer: a host page, its sandbox on another origin with the policy that the
// specification makes of the resource's metadata, and a record of all that happens.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after } from "node:test";
import assert from "node:assert/strict";
import axe from "axe-core";
import { buildSync } from "esbuild";
import { chromium } from "playwright-core";

export const given = JSON.parse(readFileSync("given.json", "utf8"));

const PATIENCE = 20_000;

export const CAN = {
  serverTools: {}, serverResources: {}, openLinks: {}, message: { text: {} },
  updateModelContext: { text: {} },
};

/** The policy of the specification, word for word. */
export function policy({ resourceDomains = [], connectDomains = [], dataUrls = true, ...csp } = {}) {
  const resources = resourceDomains.join(" ");
  const data = dataUrls ? "data:" : "";
  return [
    "default-src 'none'",
    `script-src 'self' 'unsafe-inline' ${resources}`,
    `style-src 'self' 'unsafe-inline' ${resources}`,
    `connect-src 'self' ${connectDomains.join(" ")}`,
    `img-src 'self' ${data} ${resources}`,
    `font-src 'self' ${resources}`,
    `media-src 'self' ${data} ${resources}`,
    `frame-src ${csp.frameDomains?.join(" ") || "'none'"}`,
    "object-src 'none'",
    `base-uri ${csp.baseUriDomains?.join(" ") || "'self'"}`,
  ].join("; ");
}

const HOST = `<!doctype html><html lang="en"><title>Host</title><style>body { margin: 0 }
iframe { border: 0; display: block; height: 100px }</style>
<iframe title="viewer" sandbox="allow-scripts allow-same-origin"></iframe>
<script type="module" src="/host.js"></script></html>`;

const SANDBOX = `<!doctype html><html lang="en"><title>Sandbox</title>
<style>html, body { margin: 0; height: 100% } iframe { border: 0; display: block; width: 100%;
height: 100% }</style><body><script>
const inner = document.createElement("iframe");
inner.title = "inner";
inner.setAttribute("sandbox", "allow-scripts allow-same-origin");
document.body.append(inner);
addEventListener("message", ({ source, data }) => {
  if (source === inner.contentWindow) parent.postMessage(data, "*");
  else if (data.method !== "ui/notifications/sandbox-resource-ready") {
    inner.contentWindow.postMessage(data, "*");
  } else {
    if (data.params.permissions?.clipboardWrite) inner.allow = "clipboard-write";
    inner.srcdoc = data.params.html;
  }
});
parent.postMessage({ jsonrpc: "2.0", method: "ui/notifications/sandbox-proxy-ready", params: {} }, "*");
</script></body></html>`;

const bundle = buildSync({
  entryPoints: ["host.mjs"], bundle: true, minify: true, format: "esm", write: false,
  logLevel: "error",
}).outputFiles[0].text;

function serve(answer) {
  return new Promise((resolve) => {
    const server = createServer((request, response) => {
      const { type, body, headers } = answer(new URL(request.url, "http://host"));
      response.writeHead(200, { "content-type": type, "cache-control": "max-age=600", ...headers }).end(body);
    });
    server.listen(0, "127.0.0.1", () => {
      server.unref();
      resolve(`http://127.0.0.1:${server.address().port}`);
    });
  });
}

const hostOrigin = await serve(({ pathname }) => pathname === "/host.js"
  ? { type: "text/javascript", body: bundle } : { type: "text/html", body: HOST });
const sandboxOrigin = await serve(({ searchParams }) => ({
  type: "text/html",
  body: SANDBOX,
  headers: { "content-security-policy": policy(JSON.parse(searchParams.get("csp"))) },
}));

const browser = await chromium.launch({ ...given.browser, args: ["--no-sandbox"] });
const context = await browser.newContext();
after(() => browser.close());

/** Open the viewer, and send it what the host sends about a call. */
export async function open({
  input, result, can = CAN, told = {}, width = 320, answer = () => ({}), clock = false,
  html = given.html, meta = given.meta, early, dataUrls = true,
} = {}) {
  // A clock holds for its whole context, so who asks for one has a context of its own.
  const page = await (clock ? browser : context).newPage();
  await page.setViewportSize({ width, height: 800 });
  const stage = new Stage(page);
  page.setDefaultTimeout(PATIENCE);
  page.on("console", (line) => {
    // The harness has the sandbox attributes that the specification asks for, which Chromium notes.
    const noted = line.text().includes("can escape its sandboxing");
    if (["error", "warning"].includes(line.type()) && !noted) stage.errors.push(line.text());
  });
  page.on("pageerror", (error) => stage.errors.push(String(error)));
  page.on("request", (request) => stage.requests.push(request.url()));
  await page.addInitScript(() => {
    window.violations = [];
    addEventListener("securitypolicyviolation", (event) => {
      window.violations.push(`${event.effectiveDirective} ${event.blockedURI}`);
    });
  });
  if (clock) await page.clock.install({ time: 0 });
  await page.exposeFunction("asked", async (method, params) => {
    stage.calls.push([method, params]);
    stage.heard();
    return answer(method, params);
  });
  await page.goto(hostOrigin);
  const csp = encodeURIComponent(JSON.stringify({ ...meta.csp, dataUrls }));
  await page.evaluate((options) => window.start(options), {
    sandbox: `${sandboxOrigin}/?csp=${csp}`,
    html,
    ...meta,
    can,
    width,
    early,
    context: {
      theme: "light", displayMode: "inline", locale: "en-GB", timeZone: "UTC",
      containerDimensions: { width, maxHeight: 4000 }, ...told,
    },
  });
  stage.frame = page.frames()[2];
  if (clock) await page.clock.pauseAt(3_600_000);  // from here on the test moves it
  if (input) await stage.send("sendToolInput", { arguments: input });
  if (result) await stage.send("sendToolResult", result);
  return stage;
}

class Stage {
  calls = [];
  errors = [];
  requests = [];
  #waiting = [];

  constructor(page) {
    this.page = page;
    this.view = page.frameLocator("iframe").frameLocator("iframe");
  }

  send(what, params) {
    return this.page.evaluate(([name, value]) => window.bridge[name](value), [what, params]);
  }

  context(change) {
    return this.page.evaluate((value) => window.changed(value), change);
  }

  button(name) {
    return this.view.getByRole("button", { name, exact: true });
  }

  text(text) {
    return this.view.getByText(text);
  }

  /** The calls of one method so far. */
  of(method) {
    return this.calls.filter(([name]) => name === method).map(([, params]) => params);
  }

  heard() {
    this.#waiting = this.#waiting.filter((check) => !check());
  }

  /** Wait until the viewer has sent so many requests of a method, and return their params. */
  async sent(method, count = 1) {
    if (this.of(method).length < count) {
      await new Promise((resolve, reject) => {
        const late = setTimeout(() => reject(new Error(`${count} ${method} did not come`)), PATIENCE);
        this.#waiting.push(() => {
          if (this.of(method).length < count) return false;
          clearTimeout(late);
          resolve();
          return true;
        });
      });
    }
    return this.of(method);
  }

  /** Wait until all that is shown has loaded. */
  async loaded() {
    await this.frame.waitForFunction(() =>
      [...document.querySelectorAll("img")].every((i) => i.complete && i.naturalWidth)
      && [...document.querySelectorAll("video")].every((v) => v.readyState > 0));
  }

  /** Hold the layout: as wide as its frame, as tall as its content, nothing cut. */
  async layout() {
    await this.frame.waitForFunction(() => {
      const { scrollHeight, clientHeight } = document.documentElement;
      return scrollHeight <= clientHeight;
    });
    const cut = await this.frame.evaluate(() => {
      const { scrollWidth, clientWidth } = document.documentElement;
      const found = scrollWidth > clientWidth ? [`page ${scrollWidth} > ${clientWidth}`] : [];
      for (const node of document.body.querySelectorAll("*")) {
        const box = node.getBoundingClientRect();
        if (!box.width || node.closest(".unseen, .thumb")) continue;
        const meant = node.closest("#prompt, .one-line, textarea") || node.tagName === "IMG";
        const over = node.scrollWidth > node.clientWidth + 1 && node.clientWidth;
        if (box.right > clientWidth + 0.5 || box.left < -0.5 || (over && !meant)) {
          found.push(`${node.tagName} ${node.id} ${node.textContent.slice(0, 40)}`);
        }
      }
      return found;
    });
    assert.deepEqual(cut, []);
  }

  /** Hold the rules of axe-core, its best practices included. */
  async accessible() {
    if (!await this.frame.evaluate(() => "axe" in window)) await this.frame.evaluate(axe.source);
    const found = await this.frame.evaluate(async () => {
      const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
      return violations.map(({ id, nodes }) => `${id}: ${nodes.map((n) => n.html).join(" ")}`);
    });
    assert.deepEqual(found, []);
  }

  /** Hold that nothing went wrong, and close. */
  async clean({ violations = [], origins = given.meta.csp.resourceDomains } = {}) {
    assert.deepEqual(await this.frame.evaluate(() => window.violations), violations);
    assert.deepEqual(this.errors, []);
    const allowed = [hostOrigin, sandboxOrigin, ...origins];
    const strange = this.requests.filter((url) =>
      !/^(data|about):/.test(url) && !allowed.includes(new URL(url).origin));
    assert.deepEqual(strange, []);
    await this.page.close();
  }
}
