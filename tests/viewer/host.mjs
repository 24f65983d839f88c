// The host page: the official host side of MCP Apps, which hands every request to the test.
import { AppBridge, PostMessageTransport } from "@modelcontextprotocol/ext-apps/app-bridge";

const frame = document.querySelector("iframe");

const sandboxReady = (url) => new Promise((resolve) => {
  window.addEventListener("message", function heard({ source, data }) {
    if (source !== frame.contentWindow) return;
    if (data?.method !== "ui/notifications/sandbox-proxy-ready") return;
    window.removeEventListener("message", heard);
    resolve();
  });
  frame.src = url;
});

/** Send a result before the answer to the viewer's first request, as some hosts do. */
function sendEarly(result) {
  window.addEventListener("message", function heard({ source, data }) {
    if (source !== frame.contentWindow || data?.method !== "ui/initialize") return;
    window.removeEventListener("message", heard);
    const method = "ui/notifications/tool-result";
    frame.contentWindow.postMessage({ jsonrpc: "2.0", method, params: result }, "*");
  });
}

window.start = async ({ sandbox, html, csp, permissions, can, context, width, early }) => {
  frame.style.width = `${width}px`;
  if (permissions?.clipboardWrite) frame.allow = "clipboard-write *";
  await sandboxReady(sandbox);
  if (early) sendEarly(early);
  const bridge = new AppBridge(null, { name: "test-host", version: "1" }, can, {
    hostContext: context,
  });
  const asks = {
    oncalltool: "tools/call",
    onreadresource: "resources/read",
    onmessage: "ui/message",
    onopenlink: "ui/open-link",
    onupdatemodelcontext: "ui/update-model-context",
    onrequestdisplaymode: "ui/request-display-mode",
  };
  for (const [setter, method] of Object.entries(asks)) {
    bridge[setter] = (params) => window.asked(method, params);
  }
  bridge.onsizechange = ({ height }) => {
    if (bridge.height !== "fixed") frame.style.height = `${height}px`;
  };
  const initialized = new Promise((resolve) => { bridge.oninitialized = resolve; });
  await bridge.connect(new PostMessageTransport(frame.contentWindow, frame.contentWindow));
  await bridge.sendSandboxResourceReady({ html, csp, permissions });
  await initialized;
  window.bridge = bridge;
};

window.changed = (context) => {
  const { width, height } = context.containerDimensions ?? {};
  if (width) frame.style.width = `${width}px`;
  if (height) Object.assign(window.bridge, { height: "fixed" });
  if (height) frame.style.height = `${height}px`;
  window.bridge.sendHostContextChange(context);
};
