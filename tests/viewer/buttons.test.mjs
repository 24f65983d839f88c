// Each button sends exactly one request, and nothing is spent that was not shown.
import { test } from "node:test";
import assert from "node:assert/strict";
import {
  answer, completed, dryRun, film, four, history, IMAGE_CALL, needsApproval, onHold, processing,
  notFound, PROMPT, unknown, unknownPrice, url, VIDEO_CALL,
} from "./answers.mjs";
import { CAN, open } from "./stage.mjs";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const GENERATION = {
  prompt: PROMPT, modelId: "nanobanana-2", aspectRatio: "16:9", resolution: "2K",
};
const MEDIUM = "meigen://generations/gen_7Q/media";
const REFERENCE = (index) => [{
  type: "text",
  text: `Use ${MEDIUM}/${index} as a reference image for what I ask next: pass it in referenceImages.`,
}];
const made = { ...processing, generationId: "gen_9S", requestId: "new", prompt: "A second lighthouse" };

/** Answer tools by name: dry runs with a price, the rest as given; nothing is found before a click. */
const tools = (given, fallback = () => ({})) => {
  let begun = given.begun ?? true;
  return (method, params) => {
    if (method !== "tools/call") return fallback(method, params);
    const { name, arguments: args } = params;
    if (args.dryRun) return answer(given.price ?? dryRun);
    if (!begun && name === "check_status") return answer(notFound);
    begun = true;
    if (given[name] instanceof Error) throw given[name];
    return answer(given[name]);
  };
};

/** The calls of a generating tool so far. */
const generating = (stage) =>
  stage.of("tools/call").filter(({ name }) => name.startsWith("generate_"));

/** The call that spends, apart from the id that the viewer gave it. */
function spending({ name, arguments: { requestId, ...args } }) {
  assert.match(requestId, UUID);
  return { name, arguments: args };
}

test("vary asks for the price, and spends no more than that, once", async () => {
  const stage = await open({
    input: IMAGE_CALL, result: answer(completed),
    answer: tools({ generate_image: made, check_status: made }),
  });
  await stage.button("Vary").click();
  await stage.button("Spend 12 credits").waitFor();
  assert.deepEqual(stage.of("tools/call"), [
    { name: "generate_image", arguments: { ...GENERATION, dryRun: true } },
  ]);
  await stage.button("Spend 12 credits").dblclick();
  await stage.text("A second lighthouse").first().waitFor();
  const calls = stage.of("tools/call").filter(({ name }) => name === "generate_image").slice(1);
  assert.deepEqual(calls.map(spending), [
    { name: "generate_image", arguments: { ...GENERATION, maxCredits: 12, wait: 0 } },
  ]);
  await stage.button("Back").click();
  await stage.button("Copy link").waitFor();
  await stage.clean();
});

test("a double click on vary shows the price and spends nothing", async () => {
  const stage = await open({
    input: IMAGE_CALL, result: answer(completed), answer: tools({ generate_image: made }),
  });
  await stage.button("Vary").dblclick();
  await stage.button("Spend 12 credits").waitFor();
  await stage.page.keyboard.press("Enter");
  await stage.button("Cancel").click();
  assert.deepEqual(stage.of("tools/call"), [
    { name: "generate_image", arguments: { ...GENERATION, dryRun: true } },
  ]);
  await stage.clean();
});

test("a click that got no answer is sent again under the same id", async () => {
  const answers = [new Error("Connection closed"), made];
  const stage = await open({
    input: IMAGE_CALL, result: answer(completed),
    answer: (method, { name, arguments: args }) => {
      if (args?.dryRun) return answer(dryRun);
      if (name !== "generate_image") return answer(made);
      const next = answers.shift();
      if (next instanceof Error) throw next;
      return answer(next);
    },
  });
  await stage.button("Vary").click();
  await stage.button("Spend 12 credits").click();
  await stage.text("Press again: it cannot be charged twice.").waitFor();
  await stage.button("Spend 12 credits").click();
  await stage.text("A second lighthouse").first().waitFor();
  const spent = stage.of("tools/call").filter(({ arguments: a }) => a.maxCredits);
  assert.equal(spent.length, 2);
  assert.deepEqual(spent[0], spent[1]);
  await stage.clean();
});

const REFUSALS = {
  server: answer({ status: "refused", error: { message: "It would cost 13; maxCredits is 12." } }),
  host: { isError: true, content: [{ type: "text", text: "The person declined the call." }] },
};
for (const [who, refusal] of Object.entries(REFUSALS)) {
  test(`what the ${who} refuses of what was agreed to is said, and the picture stays`, async () => {
    const stage = await open({
      input: IMAGE_CALL, result: answer(completed),
      answer: (method, { arguments: args }) => args.dryRun ? answer(dryRun) : refusal,
    });
    await stage.button("Vary").click();
    await stage.button("Spend 12 credits").click();
    const said = await stage.view.getByRole("alert").textContent();
    assert.equal(said, refusal.structuredContent?.error.message ?? refusal.content[0].text);
    assert.equal(await stage.view.locator("#media img").count(), 1);
    await stage.clean();
  });
}

test("a price that comes when another generation is on show is not offered", async () => {
  let arrive;
  const late = new Promise((resolve) => { arrive = () => resolve(answer(dryRun)); });
  const other = { ...film, requestId: "other", generationId: "gen_6P" };
  const stage = await open({
    input: IMAGE_CALL, result: answer(completed),
    answer: (method, { name }) => name === "check_status" ? answer(other) : late,
  });
  await stage.text("Details").click();
  await stage.button("Vary").click();
  await stage.button("meigen://generations/gen_6P/media/0").click();
  await stage.button("Continue this video").waitFor();
  arrive();
  await stage.frame.waitForFunction(
    () => document.getElementById("vary").getAttribute("aria-disabled") === "false",
  );
  assert.equal(await stage.view.locator("#offer").count(), 0);
  await stage.clean();
});

test("without the call itself, vary puts the arguments together from the answer", async () => {
  const stage = await open({
    input: { generationId: "gen_7Q", wait: null }, result: answer(completed), answer: tools({}),
  });
  await stage.button("Vary").click();
  assert.deepEqual(await stage.sent("tools/call"), [
    { name: "generate_image", arguments: { ...GENERATION, dryRun: true } },
  ]);
  await stage.clean();
});

test("a video is continued from its own medium, in its own settings, after the price", async () => {
  const price = { ...needsApproval, status: "dry_run", requestId: undefined };
  const stage = await open({
    input: { ...VIDEO_CALL, referenceImages: ["https://a.test/1.png"] }, result: answer(film),
    answer: tools({ price, generate_video: made, check_status: made }),
  });
  await stage.button("Continue this video").click();
  await stage.view.getByLabel("What happens next").fill("It lands");
  await stage.button("See the price").click();
  const args = {
    prompt: "It lands", modelId: "seedance-2-0", duration: 5, resolution: "720p",
    referenceVideo: `${MEDIUM}/0`,
  };
  assert.deepEqual(await stage.sent("tools/call"), [
    { name: "generate_video", arguments: { ...args, dryRun: true } },
  ]);
  await stage.view.getByLabel("What happens next").pressSequentially(" softly");
  await stage.button("See the price").click();
  await stage.button("Spend 250 credits").click();
  const call = (await stage.sent("tools/call", 3))[2];
  assert.deepEqual(spending(call), {
    name: "generate_video",
    arguments: { ...args, prompt: "It lands softly", maxCredits: 250, wait: 0 },
  });
  await stage.clean();
});

test("an approval repeats the call with its request id and the quoted price, once", async () => {
  const stage = await open({
    input: { ...VIDEO_CALL, maxCredits: 100 }, result: answer(needsApproval),
    answer: tools({ begun: false, generate_video: made, check_status: made }),
  });
  await stage.button("Spend 250 credits").dblclick();
  await stage.text("A second lighthouse").first().waitFor();
  const { wait, ...args } = VIDEO_CALL;
  assert.deepEqual(generating(stage), [{
    name: "generate_video",
    arguments: { ...args, requestId: needsApproval.requestId, maxCredits: 250, wait: 0 },
  }]);
  await stage.clean();
});

test("a yes that the chat app does not bring can be given in a terminal", async () => {
  const stage = await open({
    input: VIDEO_CALL, result: answer(needsApproval),
    answer: tools({ generate_video: needsApproval }),
  });
  const command = `Or in a terminal: meigen-mcp approve ${needsApproval.requestId}`;
  await stage.text(command).waitFor();
  await stage.button("Spend 250 credits").click();
  await stage.text("Your yes did not arrive through the chat app").waitFor();
  await stage.text(command).waitFor();
  await stage.clean();
});

test("an unknown price is approved up to what the person writes", async () => {
  const stage = await open({
    input: VIDEO_CALL, result: answer(unknownPrice),
    answer: tools({ begun: false, generate_video: made, check_status: made }),
  });
  await stage.button("Approve up to this").click();
  await stage.view.getByLabel("Most that you will pay, in credits").fill("300");
  await stage.button("Approve up to this").click();
  const { wait, ...args } = VIDEO_CALL;
  await stage.text("A second lighthouse").first().waitFor();
  assert.deepEqual(generating(stage)[0], {
    name: "generate_video",
    arguments: { ...args, requestId: unknownPrice.requestId, maxCredits: 300, wait: 0 },
  });
  await stage.clean();
});

test("an offer after the price is approved under the id of the click", async () => {
  const offered = { ...needsApproval, mediaType: "image", quote: { ...dryRun.quote } };
  const stage = await open({
    input: IMAGE_CALL, result: answer(completed), answer: tools({ generate_image: offered }),
  });
  await stage.button("Vary").click();
  await stage.button("Spend 12 credits").click();
  await stage.text("This needs your approval").waitFor();
  await stage.button("Spend 12 credits").click();
  const last = (await stage.sent("tools/call", 3))[2];
  assert.deepEqual(last, {
    name: "generate_image",
    arguments: { ...GENERATION, requestId: offered.requestId, maxCredits: 12, wait: 0 },
  });
  await stage.clean();
});

test("a dry run can be made for its price, under the id that the server gave it", async () => {
  const stage = await open({
    input: { ...IMAGE_CALL, dryRun: true }, result: answer(dryRun),
    answer: tools({ begun: false, generate_image: made, check_status: made }),
  });
  await stage.button("Spend 12 credits").click();
  await stage.text("A second lighthouse").first().waitFor();
  assert.deepEqual(generating(stage), [{
    name: "generate_image",
    arguments: { ...GENERATION, requestId: dryRun.requestId, maxCredits: 12, wait: 0 },
  }]);
  await stage.clean();
});

for (const [name, offered] of Object.entries({ "a dry run": dryRun, "an approval": needsApproval })) {
  test(`${name} that is shown again offers nothing that was bought meanwhile`, async () => {
    const bought = { ...completed, requestId: offered.requestId };
    const stage = await open({
      input: IMAGE_CALL, result: answer(offered), answer: tools({ check_status: bought }),
    });
    await stage.button("Copy link").waitFor();
    assert.equal(await stage.view.getByRole("button", { name: /^Spend/ }).count(), 0);
    assert.deepEqual(stage.of("tools/call"), [
      { name: "check_status", arguments: { requestId: offered.requestId, wait: 0 } },
    ]);
    await stage.clean();
  });
}

test("a result that comes twice keeps what the person has written", async () => {
  const stage = await open({
    input: VIDEO_CALL, result: answer(unknownPrice), answer: tools({ begun: false }),
  });
  const most = stage.view.getByLabel("Most that you will pay, in credits");
  await most.fill("300");
  await stage.send("sendToolResult", answer(unknownPrice));
  await stage.send("sendToolInput", { arguments: VIDEO_CALL });
  assert.equal(await most.inputValue(), "300");
  await stage.clean();
});

test("what is on hold is sent again under its own id", async () => {
  const stage = await open({
    input: IMAGE_CALL, result: answer(onHold),
    answer: tools({ generate_image: made, check_status: made }),
  });
  await stage.button("Send again").click();
  assert.deepEqual((await stage.sent("tools/call"))[0], {
    name: "generate_image", arguments: { ...GENERATION, requestId: onHold.requestId, wait: 0 },
  });
  await stage.clean();
});

test("what is not known is looked at again", async () => {
  const stage = await open({
    input: IMAGE_CALL, result: answer(unknown), answer: tools({ check_status: completed }),
  });
  await stage.button("Look again").click();
  await stage.button("Copy link").waitFor();
  assert.deepEqual(stage.of("tools/call"), [
    { name: "check_status", arguments: { requestId: unknown.requestId, wait: 20 } },
  ]);
  await stage.clean();
});

test("the link is copied", async () => {
  const stage = await open({ input: IMAGE_CALL, result: answer(completed) });
  await stage.page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await stage.button("Copy link").click();
  await stage.text("The link is copied.").waitFor();
  assert.equal(await stage.page.evaluate(() => navigator.clipboard.readText()), url("0.png"));
  await stage.clean();
});

test("the link is opened by the host, or told where the host declines", async () => {
  let declined = false;
  const stage = await open({
    input: IMAGE_CALL, result: answer(completed), answer: () => ({ isError: declined }),
  });
  await stage.button("Open").click();
  assert.deepEqual(await stage.sent("ui/open-link"), [{ url: url("0.png") }]);
  declined = true;
  await stage.button("Open").click();
  await stage.text(`The chat app did not open it. The link: ${url("0.png")}`).waitFor();
  await stage.clean();
});

test("one of four is put into the conversation as a reference", async () => {
  const stage = await open({ input: IMAGE_CALL, result: answer(four) });
  assert.equal(await stage.button("Use as reference").count(), 0);
  await stage.view.getByRole("button", { name: "3 of 4" }).click();
  await stage.button("Use as reference").click();
  await stage.text("Say in the chat what to make with it.").waitFor();
  assert.deepEqual(stage.calls, [["ui/message", { role: "user", content: REFERENCE(2) }]]);
  await stage.clean();
});

test("of a clip the last frame is the reference", async () => {
  const stage = await open({ input: VIDEO_CALL, result: answer(film) });
  await stage.button("Use last frame as reference").click();
  await stage.text("Say in the chat what to make with it.").waitFor();
  const [[, { content }]] = stage.calls;
  assert.match(content[0].text, /pass it in referenceImages, where its last frame counts\.$/);
  await stage.clean();
});

test("a host that takes no messages is given the reference as context, or the person is", async () => {
  let taken = true;
  const stage = await open({
    input: IMAGE_CALL, result: answer(completed),
    answer: (method) => {
      if (method === "ui/message" || !taken) throw new Error("not here");
      return {};
    },
  });
  await stage.button("Use as reference").click();
  assert.deepEqual(await stage.sent("ui/update-model-context"), [{ content: REFERENCE(0) }]);
  await stage.text("Say in the chat what to make with it.").waitFor();
  taken = false;
  await stage.button("Use as reference").click();
  await stage.text(`Write this to the assistant: Use ${MEDIUM}/0`).waitFor();
  await stage.clean();
});

test("a row of the list opens its generation, and back returns to the list", async () => {
  const stage = await open({
    input: {}, result: answer(history), answer: tools({ check_status: film }),
  });
  await stage.view.getByRole("button", { name: "The boat sails on Video · Finished" }).click();
  await stage.button("Continue this video").waitFor();
  assert.deepEqual(stage.of("tools/call"), [
    { name: "check_status", arguments: { generationId: "gen_7Q", wait: 0 } },
  ]);
  await stage.button("Back").click();
  await stage.text("Spent: 112 credits in 24 hours, 1,540.5 credits in 30 days").waitFor();
  await stage.clean();
});

test("what a generation was made from is opened from its details", async () => {
  const stage = await open({
    input: IMAGE_CALL, result: answer(completed), answer: tools({ check_status: film }),
  });
  await stage.text("Details").click();
  await stage.button("meigen://generations/gen_6P/media/0").click();
  assert.deepEqual(await stage.sent("tools/call"), [
    { name: "check_status", arguments: { generationId: "gen_6P", wait: 0 } },
  ]);
  await stage.button("Back").waitFor();
  await stage.clean();
});

test("after a stopped call the newest generations are a click away", async () => {
  const stage = await open({ input: IMAGE_CALL, answer: tools({ check_status: history }) });
  await stage.send("sendToolCancelled", { reason: "user action" });
  await stage.button("Show recent generations").click();
  await stage.text("Spent: 112 credits").waitFor();
  assert.deepEqual(stage.of("tools/call"), [{ name: "check_status", arguments: {} }]);
  await stage.clean();
});

test("the host is asked for the full screen, and back, where it has one", async () => {
  const modes = { availableDisplayModes: ["inline", "fullscreen"] };
  const stage = await open({
    input: IMAGE_CALL, result: answer(completed), told: modes,
    answer: (method, { mode }) => ({ mode }),
  });
  await stage.button("Full screen").click();
  await stage.button("Exit full screen").click();
  await stage.button("Full screen").waitFor();
  assert.deepEqual(stage.of("ui/request-display-mode"), [{ mode: "fullscreen" }, { mode: "inline" }]);
  await stage.clean();
});

test("a host that can do nothing is offered nothing that needs it", async () => {
  const stage = await open({ input: IMAGE_CALL, result: answer(completed), can: {} });
  const buttons = stage.view.getByRole("button");
  await stage.button("Copy link").waitFor();
  assert.deepEqual(await buttons.allTextContents(), ["Copy link", "Use as reference"]);
  await stage.clean();
});

test("every button is reached and pressed by the keyboard alone", async () => {
  const stage = await open({
    input: IMAGE_CALL, result: answer(completed), answer: tools({ generate_image: made }),
    can: { ...CAN, updateModelContext: undefined },
  });
  const { keyboard } = stage.page;
  await stage.button("Copy link").focus();
  const order = [];
  for (let step = 0; step < 5; step += 1) {
    order.push(await stage.frame.evaluate(() => document.activeElement.textContent));
    await keyboard.press("Tab");
  }
  assert.deepEqual(order, ["Copy link", "Open", "Use as reference", "Vary", "Details"]);
  await stage.button("Vary").focus();
  await keyboard.press("Enter");
  await stage.frame.waitForFunction(() => document.activeElement.id === "offer");
  await keyboard.press("Tab");
  assert.equal(
    await stage.frame.evaluate(() => document.activeElement.textContent), "Spend 12 credits",
  );
  await stage.clean();
});

/** The id of what has the focus. */
const focused = (stage) => stage.frame.evaluate(() => document.activeElement.id);

test("the keyboard keeps its place after a row, after Back and after Spend", async () => {
  const stage = await open({
    input: {}, result: answer(history),
    answer: tools({ check_status: completed, generate_image: made }),
  });
  await stage.view.locator("#row1").press("Enter");
  await stage.button("Back").waitFor();
  assert.equal(await focused(stage), "title");
  await stage.button("Back").press("Enter");
  await stage.view.locator("#row1").waitFor();
  assert.equal(await focused(stage), "row1");
  await stage.view.locator("#row1").press("Enter");
  await stage.button("Vary").press("Enter");
  await stage.button("Spend 12 credits").press("Enter");
  await stage.button("Spend 12 credits").waitFor({ state: "detached" });
  assert.equal(await focused(stage), "title");
  await stage.clean();
});

test("Escape closes an offer and spends nothing", async () => {
  const stage = await open({ input: IMAGE_CALL, result: answer(completed), answer: tools({}) });
  await stage.button("Vary").press("Enter");
  await stage.button("Spend 12 credits").press("Escape");
  await stage.button("Spend 12 credits").waitFor({ state: "detached" });
  assert.equal(await focused(stage), "vary");
  assert.deepEqual(stage.of("tools/call").map(({ arguments: { dryRun: dry } }) => dry), [true]);
  await stage.clean();
});
