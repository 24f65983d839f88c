// The life of a viewer: what it asks while a generation runs, what it follows, and how it ends.
import { test } from "node:test";
import assert from "node:assert/strict";
import {
  answer, completed, film, four, history, IMAGE_CALL, lost, PREVIEW, processing, PROMPT, url, VIDEO_CALL,
} from "./answers.mjs";
import { CAN, given, open } from "./stage.mjs";

const LOOK = { name: "check_status", arguments: { generationId: "gen_7Q", wait: 20 } };
const now = (stage) => stage.frame.evaluate(() => performance.now());

test("it introduces itself, answers a ping and refuses what it does not know", async () => {
  const stage = await open();
  const [info, capabilities] = await stage.page.evaluate(
    () => [window.bridge.getAppVersion(), window.bridge.getAppCapabilities()],
  );
  assert.equal(info.name, "meigen-viewer");
  assert.deepEqual(capabilities, { availableDisplayModes: ["inline", "fullscreen"] });
  const answers = await stage.page.evaluate(() => new Promise((resolve) => {
    const { contentWindow } = document.querySelector("iframe");
    const heard = [];
    addEventListener("message", ({ data }) => {
      if (typeof data.id === "string" && heard.push(data) === 2) resolve(heard);
    });
    contentWindow.postMessage({ jsonrpc: "2.0", id: "a", method: "ping" }, "*");
    contentWindow.postMessage({ jsonrpc: "2.0", id: "b", method: "toString" }, "*");
  }));
  assert.deepEqual(answers, [
    { jsonrpc: "2.0", id: "a", result: {} },
    { jsonrpc: "2.0", id: "b", error: { code: -32601, message: "Method not found" } },
  ]);
  await stage.page.close();  // the bridge notes that it did not ask
});

test("a running generation is asked after until it has ended, and the model is told", async () => {
  const answers = [processing, { ...processing, elapsedSeconds: 30 }, completed];
  const stage = await open({
    input: IMAGE_CALL, result: answer(processing), clock: true,
    answer: (method) => method === "tools/call" ? answer(answers.shift()) : {},
  });
  for (let count = 1; count <= 3; count += 1) {
    // The view sets its next timer when it has the answer, which may be after the clock has run.
    while (stage.of("tools/call").length < count) await stage.page.clock.runFor(1100);
  }
  await stage.button("Copy link").waitFor();
  await stage.page.clock.runFor(600_000);
  assert.deepEqual(stage.of("tools/call"), [LOOK, LOOK, LOOK]);
  assert.deepEqual(stage.of("ui/update-model-context"), [
    { content: [{ type: "text", text: "completed: …" }] },
  ]);
  assert.equal(await stage.view.locator("#said").textContent(), "Finished");
  await stage.clean();
});

test("time goes by between the answers, and past what is usual no share is claimed", async () => {
  const stage = await open({
    input: IMAGE_CALL, result: answer(processing), clock: true, can: {},
  });
  const bar = stage.view.getByRole("progressbar");
  await stage.page.clock.runFor(8000);
  await stage.text("20 s of about 40 s").waitFor();
  assert.equal(Math.round(await bar.getAttribute("value") * 10), 5);
  await stage.page.clock.runFor(60_000);
  await stage.text("80 s; usually 40 s").waitFor();
  assert.equal(await bar.getAttribute("value"), null);
  await stage.clean();
});

test("without an answer it asks ever more rarely, down to once a minute", async () => {
  const times = [];
  const stage = await open({
    input: IMAGE_CALL, result: answer(processing), clock: true,
    answer: async () => {
      times.push(await now(stage));
      throw new Error(`Failure ${times.length}`);
    },
  });
  for (let count = 1; count <= 8; count += 1) {
    while (stage.of("tools/call").length < count) await stage.page.clock.runFor(1000);
    await stage.text(`No news (Failure ${count}); it is tried again.`).waitFor();
  }
  // A question is noticed here when the clock may be some steps further.
  const late = [2, 4, 8, 16, 32, 60, 60].map(
    (pause, index) => (times[index + 1] - times[index]) / 1000 - pause,
  );
  assert.deepEqual(late.filter((seconds) => seconds < 0 || seconds > 10), []);
  await stage.clean();
});

test("nothing is asked after the teardown, nor after an answer that comes late", async () => {
  let arrive;
  const late = new Promise((resolve) => { arrive = () => resolve(answer(processing)); });
  const stage = await open({
    input: IMAGE_CALL, result: answer(processing), clock: true, answer: () => late,
  });
  await stage.page.clock.runFor(1100);
  await stage.sent("tools/call");
  assert.deepEqual(await stage.send("teardownResource", {}), {});
  arrive();
  await stage.page.clock.runFor(600_000);
  assert.deepEqual(stage.of("tools/call"), [LOOK]);
  await stage.clean();
});

test("a question that waits for its turn is not asked after the teardown", async () => {
  const stage = await open({
    input: IMAGE_CALL, result: answer(processing), clock: true, answer: () => answer(processing),
  });
  await stage.send("teardownResource", {});
  await stage.page.clock.runFor(600_000);
  assert.deepEqual(stage.of("tools/call"), []);
  await stage.clean();
});

test("nothing is asked while nobody sees it", async () => {
  const stage = await open({
    input: IMAGE_CALL, result: answer(processing), clock: true,
    answer: () => answer(processing),
  });
  const hide = (hidden) => stage.frame.evaluate((value) => {
    Object.defineProperty(document, "hidden", { value, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  await hide(true);
  await stage.page.clock.runFor(600_000);
  assert.deepEqual(stage.of("tools/call"), []);
  await hide(false);
  await stage.page.clock.runFor(1100);
  assert.deepEqual(await stage.sent("tools/call"), [LOOK]);
  await stage.clean();
});

test("the theme, the variables, the safe areas and the size of the host are followed", async () => {
  const stage = await open({ input: IMAGE_CALL, result: answer(completed) });
  const ground = () => stage.frame.evaluate(() => getComputedStyle(document.body).backgroundColor);
  assert.equal(await ground(), "rgb(255, 255, 255)");
  await stage.context({ theme: "dark" });
  await stage.frame.waitForFunction(() => document.documentElement.style.colorScheme === "dark");
  assert.equal(await ground(), "rgb(31, 31, 29)");
  await stage.context({
    styles: {
      variables: {
        "--color-background-primary": "light-dark(#fff, rgb(1, 2, 3))",
        "--color-text-primary": "light-dark(#000, #fff)",
      },
    },
    safeAreaInsets: { top: 30, right: 0, bottom: 44, left: 5 },
    displayMode: "fullscreen",
    containerDimensions: { width: 320, height: 700 },
  });
  await stage.frame.waitForFunction(() => window.innerHeight === 700);
  assert.equal(await ground(), "rgb(1, 2, 3)");
  assert.deepEqual(await stage.frame.evaluate(() => {
    const { padding } = getComputedStyle(document.querySelector("main"));
    const { height } = document.querySelector("#media img").getBoundingClientRect();
    return [padding, height < 700];
  }), ["42px 12px 56px 17px", true]);
  await stage.clean();
});

test("numbers and times are written as the person's host says", async () => {
  const stage = await open({
    input: IMAGE_CALL, result: answer(completed),
    told: { locale: "de-DE", timeZone: "Asia/Tokyo" },
  });
  await stage.text("Details").click();
  await stage.text("20 daily, 1.480 purchased").waitFor();
  await stage.text("23.11.2026, 18:30").waitFor();
  await stage.context({ locale: "not a locale" });
  await stage.text("20 daily").waitFor();
  await stage.clean();
});

test("what is not saved, not whole or not shown is told with its reason", async () => {
  const facts = {
    ...four, files: ["/home/ann/3.png", "/home/ann/4.png"],
    unsaved: [
      { index: 0, reason: "The disk of /home/ann is full." },
      { index: 1, reason: "The result breaks off before its end" },
    ],
    unshown: "Picture 2 of 4 is not in the preview. It cannot be drawn.",
  };
  const stage = await open({ input: IMAGE_CALL, result: answer(facts) });
  await stage.text("Details").click();
  await stage.loaded();
  const row = (term) => stage.view.locator(`dt:text-is("${term}") + dd`).textContent();
  assert.deepEqual(
    [await row("Saved"), await row("Not saved, or not whole"), await row("Not shown")],
    [
      "/home/ann/3.png\n/home/ann/4.png",
      "1: The disk of /home/ann is full.\n2: The result breaks off before its end",
      facts.unshown,
    ],
  );
  await stage.clean();
});

test("a prompt with markup is text", async () => {
  const evil = "<img src=x onerror=\"parent.hacked=window.hacked=1\"><script>window.hacked=1</script>"
    + "\"><svg onload=window.hacked=1>";
  const facts = {
    ...completed, prompt: evil, modelId: evil, aspectRatio: evil, files: [evil], madeFrom: [evil],
    settings: { [evil]: evil, niji7Options: { a: evil } }, next: evil, generationId: evil,
    error: { message: evil, charged: evil },
  };
  const stage = await open({ input: { prompt: evil }, result: answer(facts) });
  await stage.text("Details").click();
  await stage.loaded();
  assert.equal(await stage.view.locator("#prompt").textContent(), evil);
  assert.equal(await stage.view.locator("#media img").getAttribute("alt"), evil);
  assert.equal(await stage.frame.evaluate(() => window.hacked), undefined);
  await stage.clean();
});

for (const bad of ["javascript:alert(1)", "http://example.com/1.png", "file:///etc/passwd", "x"]) {
  test(`${bad} is neither loaded nor offered`, async () => {
    const facts = { ...completed, mediaUrls: [bad] };
    const stage = await open({ input: IMAGE_CALL, result: answer(facts), can: { openLinks: {} } });
    await stage.text("The image cannot be shown here.").waitFor();
    assert.equal(await stage.button("Copy link").count(), 0);
    assert.equal(await stage.button("Open").count(), 0);
    await stage.clean();
  });
}

test("a picture whose link has expired comes by way of the server", async () => {
  const stage = await open({
    input: IMAGE_CALL, result: answer(lost, PREVIEW),
    answer: () => ({ contents: [{ uri: "", mimeType: "image/webp", blob: given.preview }] }),
  });
  await stage.sent("resources/read");
  await stage.frame.waitForFunction(
    () => !document.querySelector("#media p") && document.querySelector("#media img")?.complete,
  );
  assert.deepEqual(stage.calls, [["resources/read", { uri: "meigen://generations/gen_7Q/media/0" }]]);
  await stage.clean();
});

test("what the policy of the host blocks comes by way of the server", async () => {
  const clip = Buffer.from(await (await fetch(url("clip.mp4"))).arrayBuffer()).toString("base64");
  const elsewhere = "https://elsewhere.example/clip.mp4";
  const stage = await open({
    input: VIDEO_CALL, result: answer({ ...film, mediaUrls: [elsewhere] }),
    answer: () => ({ contents: [{ uri: "", mimeType: "video/mp4", blob: clip }] }),
  });
  await stage.sent("resources/read");
  await stage.frame.waitForFunction(() => document.querySelector("video")?.readyState > 0);
  assert.match(stage.errors.pop(), /Content Security Policy directive/);
  await stage.clean({ violations: [`media-src ${elsewhere}`] });
});

test("a video plays with controls, and only when asked", async () => {
  const stage = await open({ input: VIDEO_CALL, result: answer(film, PREVIEW) });
  await stage.loaded();
  const video = stage.view.locator("video");
  assert.deepEqual(await video.evaluate((v) => [v.controls, v.paused, v.autoplay, v.videoWidth > 0]), [
    true, true, false, true,
  ]);
  await video.evaluate((v) => v.play());
  await stage.frame.waitForFunction(() => document.querySelector("video").currentTime > 0);
  await stage.send("teardownResource", {});
  assert.equal(await video.evaluate((v) => v.paused), true);
  await stage.clean();
});

test("calls of its own that the host also announces change nothing", async () => {
  let stage;
  stage = await open({
    input: IMAGE_CALL, result: answer(completed),
    answer: async (method, params) => {
      await stage.send("sendToolInput", { arguments: params.arguments });
      await stage.send("sendToolResult", answer({ status: "refused", prompt: "echo" }));
      return answer({ ...completed, status: "dry_run" });
    },
  });
  await stage.button("Vary").click();
  await stage.button("Spend 12 credits").waitFor();
  assert.equal(await stage.button("Copy link").count(), 1);
  assert.equal(await stage.text("echo").count(), 0);
  await stage.clean();
});

test("a result that comes before the host has introduced itself is as alive as any", async () => {
  for (const [early, name] of [
    [answer(completed, PREVIEW), "Vary"], [answer(processing), "Copy link"],
    [answer(history), /seedance|boat/],
  ]) {
    const stage = await open({ early, answer: () => answer(completed) });
    await stage.view.getByRole("button", { name }).first().waitFor();
    await stage.clean();
  }
});

test("of a host that passes text alone the record is fetched, or the picture shown", async () => {
  const content = [
    { type: "text", text: "completed: image\nrecord: meigen://generations/gen_7Q\nnext: …" }, PREVIEW,
  ];
  const bare = await open({ result: { content }, can: {} });
  await bare.view.getByRole("img", { name: "The picture of the answer" }).waitFor();
  await bare.clean();
  const stage = await open({ result: { content }, answer: () => answer(completed) });
  await stage.button("Copy link").waitFor();
  assert.deepEqual(stage.of("tools/call"), [
    { name: "check_status", arguments: { generationId: "gen_7Q", wait: 0 } },
  ]);
  await stage.clean();
});

test("where data URLs are blocked a preview is drawn", async () => {
  const stage = await open({
    input: IMAGE_CALL, result: answer(lost, PREVIEW), dataUrls: false,
    answer: () => { throw new Error("Resource not found"); },
  });
  await stage.view.locator("canvas").waitFor();
  assert.equal(await stage.view.getByRole("img", { name: PROMPT }).count(), 1);
  stage.errors.length = 0;  // Chromium notes what the policy blocks, and the link that is gone
  await stage.clean({ violations: ["img-src data"] });
});

test("a running video has the shape of a video, and a replayed one counts from its beginning", async () => {
  const { requestId: _, ...common } = processing;
  const began = { ...common, mediaType: "video", aspectRatio: undefined, settings: {} };
  const stage = await open({
    result: answer({ ...began, createdAt: new Date(Date.now() - 95_000).toISOString() }), can: {},
  });
  const box = await stage.view.locator(".shape").boundingBox();
  assert.ok(Math.abs(box.width / box.height - 16 / 9) < 0.05);
  await stage.text(/^9\d s; usually 40 s/).waitFor();
  await stage.clean();
});

test("an answer without a structure is shown as it is", async () => {
  const result = { content: [{ type: "text", text: "Something else" }] };
  const stage = await open({ input: IMAGE_CALL, result });
  await stage.text("Something else").first().waitFor();
  await stage.clean();
});

test("a host that declares nothing about context is not told of the end", async () => {
  const stage = await open({
    input: IMAGE_CALL, result: answer(processing), clock: true,
    can: { ...CAN, updateModelContext: undefined }, answer: () => answer(completed),
  });
  await stage.page.clock.runFor(1100);
  await stage.button("Copy link").waitFor();
  assert.deepEqual(stage.calls, [["tools/call", LOOK]]);
  await stage.clean();
});
